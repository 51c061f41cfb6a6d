import Contracts
import JSON
import Memcache
import Sharding

/// Posts in the object pool: everything about a post that does not depend on who asks, counts included.
///
/// Whatever changes a post deletes its key before it answers; the fill contract keeps a slow reader from
/// bringing the old value back.
struct PostCache: Sendable {
    /// Bounds how long a value can lag whose deletion did not reach its node.
    static let lifetime = Duration.seconds(60)

    let cache: any CacheClient
    private let decoded = DecodedValues<PostFragment> { bytes in
        // What cannot be read counts as missing.
        (try? JSONReader.parse(bytes)).flatMap { PostFragment($0) }
    }

    init(cache: any CacheClient) {
        self.cache = cache
    }

    static func key(_ id: PostID) -> CacheKey { CacheKey(.object, "post:1:\(id)") }

    /// What the cache held; nil for what another version put there.
    func read(_ bytes: [UInt8]) -> PostFragment? { decoded.value(of: bytes) }

    /// The cache for a viewer of these posts: what may be the viewer's own comes from no copy in the process, since
    /// another process may have changed it a moment ago.
    func source(of ids: [PostID], for viewer: UserID?) -> any CacheClient {
        ids.contains { $0.bucket == viewer?.bucket } ? cache : cache.hot
    }

    /// The posts that exist, from the cache or as `load` finds them, which is asked once for all that are missing.
    func posts(
        _ ids: [PostID],
        load: ([PostID]) async throws -> [PostID: PostFragment]
    ) async throws -> [PostID: PostFragment] {
        let byKey = Dictionary(ids.map { (Self.key($0), $0) }) { first, _ in first }
        let values = try await cache.fill(Array(byKey.keys), ttl: Self.lifetime) { missing in
            let loaded = try await load(missing.compactMap { byKey[$0] })
            return Dictionary(uniqueKeysWithValues: loaded.map { (Self.key($0), $1.jsonBytes) })
        }
        var found: [PostID: PostFragment] = [:]
        var unreadable: [PostID] = []
        for (key, id) in byKey {
            guard let bytes = values[key] else { continue }
            if let fragment = read(bytes) {
                found[id] = fragment
            } else {
                unreadable.append(id)
            }
        }
        guard !unreadable.isEmpty else { return found }
        return found.merging(try await load(unreadable)) { _, loaded in loaded }
    }

    /// Called after a change has committed and before it is answered.
    func forget(_ ids: [PostID]) async {
        _ = await cache.delete(ids.map(Self.key))
    }
}
