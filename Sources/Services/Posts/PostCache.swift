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

    static func key(_ id: PostID) -> CacheKey { CacheKey(.object, "post:1:\(id)") }

    func get(_ ids: [PostID]) async -> [PostID: PostFragment] {
        let values = await cache.get(ids.map(Self.key))
        var found: [PostID: PostFragment] = [:]
        for id in ids {
            // What cannot be read was put there by another version: a miss.
            guard let bytes = values[Self.key(id)], let json = try? JSONReader.parse(bytes),
                let fragment = PostFragment(json)
            else { continue }
            found[id] = fragment
        }
        return found
    }

    /// Loads what is missing, and keeps it: each key is reserved before anything is read.
    func fill(
        _ ids: [PostID],
        load: ([PostID]) async throws -> [PostID: PostFragment]
    ) async throws -> [PostID: PostFragment] {
        guard !ids.isEmpty else { return [:] }
        let reserved = await reserve(ids)
        let loaded: [PostID: PostFragment]
        do {
            loaded = try await load(ids)
        } catch {
            _ = await cache.delete(reserved.keys.map(Self.key))
            throw error
        }
        await store(loaded, reserved)
        return loaded
    }

    private func reserve(_ ids: [PostID]) async -> [PostID: CacheToken] {
        await withTaskGroup(of: (PostID, CacheToken?).self) { group in
            for id in ids {
                group.addTask {
                    guard case .owned(let token) = await cache.reserve(Self.key(id)) else {
                        return (id, nil)
                    }
                    return (id, token)
                }
            }
            var reserved: [PostID: CacheToken] = [:]
            for await (id, token) in group { reserved[id] = token }
            return reserved
        }
    }

    private func store(
        _ loaded: [PostID: PostFragment],
        _ reserved: [PostID: CacheToken]
    ) async {
        let absent = reserved.keys.filter { loaded[$0] == nil }
        await withTaskGroup(of: Void.self) { group in
            for (id, token) in reserved {
                guard let fragment = loaded[id] else { continue }
                group.addTask {
                    _ = await cache.store(
                        Self.key(id),
                        fragment.jsonBytes,
                        ttl: Self.lifetime,
                        token: token
                    )
                }
            }
        }
        if !absent.isEmpty { _ = await cache.delete(absent.map(Self.key)) }
    }

    /// Called after a change has committed and before it is answered.
    func forget(_ ids: [PostID]) async {
        _ = await cache.delete(ids.map(Self.key))
    }
}
