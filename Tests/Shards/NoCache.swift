package import Memcache

/// A cache that is always out of reach.
package struct NoCache: CacheClient {
    package init() {}

    package func get(_ keys: [CacheKey]) async -> [CacheKey: [UInt8]] { [:] }
    package func get(_ key: CacheKey) async -> [UInt8]? { nil }
    package func set(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async {}
    package func add(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async -> Bool { false }
    package func delete(_ keys: [CacheKey]) async -> Bool { false }
    package func reserve(_ key: CacheKey) async -> CacheReservation { .unavailable }
    package func store(
        _ key: CacheKey,
        _ value: [UInt8],
        ttl: Duration,
        token: CacheToken
    ) async -> Bool { false }
}
