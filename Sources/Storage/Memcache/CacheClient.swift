import EventLoops

/// A cache in front of the shards.
///
/// Truth is never here: an outage is a miss, never an error, and no call waits longer than a bounded time. Values
/// above ``CacheLimits/valueBytes`` are not kept. A client belongs to one event loop and is called on it.
package protocol CacheClient: Sendable {
    /// The values of those keys that are there and not expired; equal keys of one turn are asked for once.
    func get(_ keys: [CacheKey]) async -> [CacheKey: [UInt8]]

    func get(_ key: CacheKey) async -> [UInt8]?

    /// Puts a value whatever was there.
    ///
    /// For values that no reader fills from elsewhere; whoever caches what a shard holds uses ``fill``.
    func set(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async

    /// Puts a value where there is none; true when this call put it.
    func add(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async -> Bool

    /// Invalidates; true when each of the keys is surely gone.
    ///
    /// After false the node was out of reach. This client then gives the node a new incarnation before it reads
    /// from it again; others may read the old value until its lifetime ends or someone deletes again.
    func delete(_ keys: [CacheKey]) async -> Bool

    /// As ``delete(_:)``, but leaves the values for ``CacheLimits/staleTime`` to fills that allow them.
    ///
    /// The first reader afterwards loads, the others take the old value meanwhile. Not for what the actor reads
    /// next, nor for what must not be seen any more. On libmemcached it deletes.
    func expire(_ keys: [CacheKey]) async -> Bool

    /// Looks at keys, each given once, and reserves those without a value: one round trip per node where the client
    /// speaks the meta protocol. In order of the keys.
    ///
    /// Whoever is given a reservation settles it (``settle(_:ttl:)``), with a value or without.
    func lease(_ keys: [CacheKey]) async -> [CacheLease]

    func lease(_ key: CacheKey) async -> CacheLease

    /// Puts a marker where there is no value, as the first step of a fill.
    func reserve(_ key: CacheKey) async -> CacheReservation

    /// Puts a value in the place of the marker; true unless the marker has gone or the cache does not answer.
    func store(_ key: CacheKey, _ value: [UInt8], ttl: Duration, token: CacheToken) async -> Bool

    /// Ends reservations: stores what was loaded and takes the markers of the rest away. Nobody waits for it.
    func settle(_ filled: [CacheFilling], ttl: Duration)

    /// Who on this loop waits for fills.
    var board: FillBoard { get }

    /// The same cache with copies of very hot values in the process, each up to a second old.
    ///
    /// For values of others only: never for what the actor may just have changed.
    var hot: any CacheClient { get }
}

/// What one fill puts in the place of its marker.
package struct CacheFilling: Sendable {
    package var key: CacheKey
    /// Nil where there is nothing to keep.
    package var value: [UInt8]?
    package var token: CacheToken

    package init(key: CacheKey, value: [UInt8]?, token: CacheToken) {
        self.key = key
        self.value = value
        self.token = token
    }
}

/// Bounds that every cache client keeps.
package enum CacheLimits {
    /// Largest value; memcached's own limit is 1 MiB with key and header.
    package static let valueBytes = 1_000_000

    /// Longest lifetime; memcached takes more seconds than this for a date.
    package static let lifetime = Duration.seconds(30 * 86_400)

    /// A fill that takes longer than this is answered but not stored.
    package static let fillTime = Duration.seconds(10)

    /// For how long a client of the meta protocol holds a reservation, if it does not store: then another may.
    package static let leaseTime = Duration.seconds(4)

    /// How long an expired value may still be read by who allows it.
    package static let staleTime = Duration.seconds(10)

    /// How long a value lives in the gutter at most.
    package static let gutterTime = Duration.seconds(10)

    /// How long a fill waits for another's, before it loads itself.
    package static let fillPatience = Duration.milliseconds(500)

    /// How often it looks meanwhile; the pause doubles up to the ceiling.
    static let fillPause = Duration.milliseconds(4)
    static let fillPauseCeiling = Duration.milliseconds(32)
}

// What a client without something better does.
extension CacheClient {
    package func expire(_ keys: [CacheKey]) async -> Bool { await delete(keys) }

    package func lease(_ keys: [CacheKey]) async -> [CacheLease] {
        let found = await get(keys)
        var leases: [CacheLease] = []
        for key in keys {
            if let value = found[key] {
                leases.append(CacheLease(.filled(value)))
            } else {
                leases.append(CacheLease(await reserve(key)))
            }
        }
        return leases
    }

    package func lease(_ key: CacheKey) async -> CacheLease { await lease([key])[0] }

    package func settle(_ filled: [CacheFilling], ttl: Duration) {
        guard let loop = EventLoop.current else { preconditionFailure("called off its loop") }
        guard !filled.isEmpty else { return }
        loop.spawn {
            for filling in filled {
                guard let value = filling.value else {
                    _ = await delete([filling.key])
                    continue
                }
                _ = await store(filling.key, value, ttl: ttl, token: filling.token)
            }
        }
    }

    package var board: FillBoard { FillBoard() }

    package var hot: any CacheClient { self }
}
