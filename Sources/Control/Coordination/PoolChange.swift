package import Sharding

/// A cache pool on its way from one set of nodes to another, seen by whoever drives it.
///
/// All of its state is the stored map, so that anybody can go on where somebody has stopped: begin from the map as
/// it is, and follow.
package struct PoolChange: Sendable, Equatable {
    package enum Event: Sendable, Equatable {
        case started
        case waited
        /// All nodes that were asked say the generation now.
        case stamped
        /// The map is stored.
        case published
    }

    package enum Effect: Sendable, Equatable {
        case wait(Duration)
        /// Have each of the nodes refuse clients with a map older than the generation.
        case stamp([CacheNode], Int64)
        /// Store the map in the place of the one before.
        case publish(PoolMap)
        case finish
    }

    /// How long clients are given to hear of a map before those that have not are refused. Nothing depends on it
    /// but how many of them miss.
    package static let grace = Duration.seconds(1)

    package private(set) var map: PoolMap

    /// How long the new nodes are filled from the old ones; nil where they are not.
    private let warming: Duration?

    package init(_ map: PoolMap, warming: Duration?) {
        self.map = map
        self.warming = warming
    }

    /// Takes one event and returns what must happen next; performs no work itself.
    package mutating func handle(_ event: Event) -> Effect {
        switch (map.phase, event) {
        case (.steady, _):
            return .finish
        case (.announced, .started), (.announced, .published), (.settling, .started),
            (.settling, .published):
            return .wait(Self.grace)
        case (.announced, .waited), (.settling, .waited):
            return .stamp(map.stampsDue, map.generation)
        case (.warming, .started), (.warming, .published):
            return .wait(warming ?? .zero)
        case (.announced, .stamped), (.settling, .stamped), (.warming, _):
            map = map.advancing(warm: warming != nil)
            return .publish(map)
        }
    }
}
