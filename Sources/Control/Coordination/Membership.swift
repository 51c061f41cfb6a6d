package import Sharding

/// One shard's membership of the cluster: it joins, serves, is emptied, and goes.
package struct Membership: Sendable, Equatable {
    package enum State: String, Sendable, CaseIterable {
        /// Asked for; its database is checked and prepared, the map does not know it yet.
        case joining
        /// Takes buckets, by its weight.
        case active
        /// Gives its buckets away and takes none.
        case draining
        /// No part of the cluster any more.
        case gone
    }

    package enum Event: Hashable, Sendable {
        case begin
        /// Schema, roles and owner rows are there, and it is this cluster's.
        case prepared
        case failed(MoveFailure)
        /// The record is in the map.
        case listed
        case drainAsked
        /// The drain is taken back.
        case keepAsked
        case removeAsked
        /// What it has, by the map and by its own rows, and the moves that name it.
        case counted(buckets: Int, unfinishedMoves: Int)
        /// The record is out of the map.
        case unlisted
        case waited
    }

    package enum Effect: Hashable, Sendable {
        case prepare
        /// Put its record into the map.
        case list
        /// A plan is to be made: what the shard takes has changed.
        case planAgain
        /// Take its record out of the map, by compare-and-set, if no bucket is on it.
        case unlist
        case wait(Duration)
        /// Refused, for the operator.
        case refuse(String)
        case finished
    }

    /// Between two tries to prepare a shard that does not answer.
    package static let retryAfter: Duration = .seconds(5)

    /// How often it is tried before joining is refused.
    package static let tryLimit = 12

    package let shard: ShardID
    package private(set) var state: State
    package private(set) var removes = false
    private var tries = 0

    package init(shard: ShardID, state: State = .joining) {
        self.shard = shard
        self.state = state
    }

    package mutating func handle(_ event: Event) -> [Effect] {
        switch (state, event) {
        case (.joining, .begin), (.joining, .waited): return [.prepare]
        case (.joining, .prepared): return [.list]
        case (.joining, .listed):
            state = .active
            return [.planAgain]
        case (.joining, .failed(let failure)):
            tries += 1
            guard failure.kind == .transient, tries < Self.tryLimit else {
                state = .gone
                return [.refuse(failure.message), .finished]
            }
            return [.wait(Self.retryAfter)]
        case (.joining, .removeAsked):
            state = .gone
            return [.finished]
        case (.active, .drainAsked):
            state = .draining
            return [.planAgain]
        case (.active, .removeAsked):
            removes = true
            state = .draining
            return [.planAgain]
        case (.draining, .removeAsked):
            removes = true
            return []
        case (.draining, .keepAsked):
            removes = false
            state = .active
            return [.planAgain]
        case (.draining, .counted(0, 0)) where removes: return [.unlist]
        case (.draining, .unlisted):
            state = .gone
            return [.finished]
        default: return []
        }
    }
}
