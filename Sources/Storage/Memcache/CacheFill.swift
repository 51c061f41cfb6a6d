/// What a cache answered to an attempt to reserve a key for a fill.
package enum CacheReservation: Sendable, Equatable {
    /// The key is ours to fill, as long as nobody deletes it: `token` says so to ``CacheClient/store``.
    case owned(token: CacheToken)
    /// Someone else has filled the key meanwhile.
    case filled([UInt8])
    /// Someone else is filling the key.
    case taken
    /// The cache does not answer.
    case unavailable
}

/// Proof of a reservation: memcached's number for the marker that was put there, and where that was.
package struct CacheToken: Sendable, Equatable {
    package let unique: UInt64

    /// The incarnation of the node when the marker was put; a node that came back has another one.
    package let incarnation: UInt32

    package init(unique: UInt64, incarnation: UInt32) {
        self.unique = unique
        self.incarnation = incarnation
    }
}

/// One fill on its way: look, reserve, load, store.
///
/// A fill may not resurrect: what it loaded may be older than a delete that came between. So it stores only by
/// compare-and-set on a marker that it put *before* it loaded; a delete takes the marker away, and the store fails.
package struct CacheFill: Sendable, Equatable {
    package enum Event: Sendable, Equatable {
        case looked([UInt8]?)
        case reserved(CacheReservation)
        case loaded([UInt8]?)
        case loadFailed
    }

    package enum Effect: Sendable, Equatable {
        case reserve
        case load
        case store([UInt8], CacheToken)
        /// Takes the marker away, so that the next reader need not wait until it expires.
        case release
        case answer([UInt8]?)
    }

    private enum State: Sendable, Equatable {
        case looking
        case reserving
        case loading(CacheToken?)
        case ended
    }

    private var state = State.looking

    package init() {}

    /// Takes one event and returns what must happen next, in this order.
    package mutating func apply(_ event: Event) -> [Effect] {
        switch (state, event) {
        case (.looking, .looked(let value?)), (.reserving, .reserved(.filled(let value))):
            state = .ended
            return [.answer(value)]
        case (.looking, .looked(nil)):
            state = .reserving
            return [.reserve]
        case (.reserving, .reserved(.owned(let token))):
            state = .loading(token)
            return [.load]
        case (.reserving, .reserved):
            // Another loads, or there is no cache: our copy is for our reader only.
            state = .loading(nil)
            return [.load]
        case (.loading(let token), .loaded(let value)):
            state = .ended
            guard let token else { return [.answer(value)] }
            guard let value else { return [.release, .answer(nil)] }
            return [.store(value, token), .answer(value)]
        case (.loading(let token), .loadFailed):
            state = .ended
            return token == nil ? [] : [.release]
        default:
            preconditionFailure("\(event) does not fit \(state)")
        }
    }
}
