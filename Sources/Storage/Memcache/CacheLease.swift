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

    /// Whether it was put in the gutter, since the key's node did not answer.
    package var isInGutter = false

    package init(unique: UInt64, incarnation: UInt32) {
        self.unique = unique
        self.incarnation = incarnation
    }
}

/// What a look at a key found: its value, or who fills it.
package struct CacheLease: Sendable, Equatable {
    package var reservation: CacheReservation

    /// What was there before ``CacheClient/expire(_:)``, while another or we load it anew.
    package var stale: [UInt8]?

    package init(_ reservation: CacheReservation, stale: [UInt8]? = nil) {
        self.reservation = reservation
        self.stale = stale
    }
}

/// Whether a reader takes a value that was expired, while another loads it anew.
package enum StaleValues: Sendable {
    case refused
    case allowed
}
