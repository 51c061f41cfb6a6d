import Sharding

/// A value as it lies in a memcached, with what is left of its life.
package struct CachedCopy: Sendable, Equatable {
    package var value: [UInt8]
    /// Nil where nothing says how long it may live: then it is not copied.
    package var seconds: Int?

    package init(value: [UInt8], seconds: Int?) {
        self.value = value
        self.seconds = seconds
    }
}

/// One reading of a key whose slot may be changing its node.
///
/// What the new node lacks is copied from the old one as a fill is made: reserve on the new node, read the old one,
/// store by that reservation alone. A deletion goes to the old node first and then to the new one: a copy that has
/// read before the first one has its marker by then, which the second one takes away.
package struct CacheLookup: Sendable, Equatable {
    package enum Event: Sendable, Equatable {
        case got([UInt8]?)
        case reserved(CacheReservation)
        case copied(CachedCopy?)
    }

    package enum Effect: Sendable, Equatable {
        case get(Int)
        case reserve(Int)
        /// Read with what is left of its life.
        case copy(Int)
        /// Nobody need wait for the next two.
        case store(Int, CachedCopy, CacheToken)
        /// Takes the marker away, so that a fill can put its own.
        case release(Int)
        case answer([UInt8]?)
    }

    private enum State: Sendable, Equatable {
        case getting
        case reserving(from: Int, to: Int)
        case copying(to: Int, CacheToken?)
        case ended
    }

    private let route: SlotRoute
    private var state = State.getting

    package init(_ route: SlotRoute) {
        self.route = route
    }

    /// The first effect.
    package var start: Effect { .get(route.home) }

    /// Takes one event and returns what must happen next, in this order.
    package mutating func apply(_ event: Event) -> [Effect] {
        switch (state, event) {
        case (.getting, .got(nil)):
            guard case .warming(let from, let to) = route else { return end(nil) }
            state = .reserving(from: from, to: to)
            return [.reserve(to)]
        case (.getting, .got(let value)), (.reserving, .reserved(.filled(let value as [UInt8]?))):
            return end(value)
        case (.reserving(let from, let to), .reserved(.owned(let token))):
            state = .copying(to: to, token)
            return [.copy(from)]
        case (.reserving(let from, let to), .reserved(.taken)):
            // Another fills it; what the old node has may be read, but not put anywhere.
            state = .copying(to: to, nil)
            return [.copy(from)]
        case (.reserving, .reserved(.unavailable)):
            return end(nil)
        case (.copying(let to, let token), .copied(let copy)):
            guard let token else { return end(copy?.value) }
            guard let copy, let seconds = copy.seconds, seconds > 0 else {
                return [.release(to)] + end(copy?.value)
            }
            return [.store(to, copy, token)] + end(copy.value)
        default:
            preconditionFailure("\(event) does not fit \(state)")
        }
    }

    private mutating func end(_ value: [UInt8]?) -> [Effect] {
        state = .ended
        return [.answer(value)]
    }
}
