/// A cache in front of the shards.
///
/// Truth is never here: an outage is a miss, never an error, and no call waits longer than a bounded time. Values
/// above ``CacheLimits/valueBytes`` are not kept. A client belongs to one event loop and is called on it.
package protocol CacheClient: Sendable {
    /// The values of those keys that are there; equal keys of one turn are asked for once.
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

    /// Puts a marker where there is no value, as the first step of a fill.
    func reserve(_ key: CacheKey) async -> CacheReservation

    /// Puts a value in the place of the marker; true unless the marker has gone or the cache does not answer.
    func store(_ key: CacheKey, _ value: [UInt8], ttl: Duration, token: CacheToken) async -> Bool
}

/// Bounds that every cache client keeps.
package enum CacheLimits {
    /// Largest value; memcached's own limit is 1 MiB with key and header.
    package static let valueBytes = 1_000_000

    /// Longest lifetime; memcached takes more seconds than this for a date.
    package static let lifetime = Duration.seconds(30 * 86_400)

    /// A fill that takes longer than this is answered but not stored.
    package static let fillTime = Duration.seconds(10)
}

extension CacheClient {
    /// The cached value, or the loaded one, which is then cached for `ttl`.
    ///
    /// `load` runs at most once and its nil is answered but not cached. A delete between `load`'s reading and the
    /// storing wins: what was loaded is then answered but not stored.
    package func fill(
        _ key: CacheKey,
        ttl: Duration,
        load: () async throws -> [UInt8]?
    ) async throws -> [UInt8]? {
        var fill = CacheFill()
        var due = fill.apply(.looked(await get(key)))
        while !due.isEmpty {
            switch due.removeFirst() {
            case .reserve:
                due += fill.apply(.reserved(await reserve(key)))
            case .load:
                do {
                    due += fill.apply(.loaded(try await load()))
                } catch {
                    if fill.apply(.loadFailed) == [.release] { _ = await delete([key]) }
                    throw error
                }
            case .store(let value, let token):
                _ = await store(key, value, ttl: ttl, token: token)
            case .release:
                _ = await delete([key])
            case .answer(let value):
                return value
            }
        }
        return nil
    }
}
