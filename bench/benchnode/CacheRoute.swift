import Contracts
import EventLoops
import HTTP
import Memcache
import ServiceKit
import Sharding

/// 4,094 bytes from memcached, through the cache client as services use it.
enum CacheRoute {
    /// As `bench/scenarios/cache_get.py` puts them for nginx.
    private static let body = Array(repeating: UInt8(ascii: "x"), count: 4_094)

    static func endpoint(
        loop: EventLoop,
        node: CacheNode?,
        transport: CacheTransport
    ) -> Endpoint {
        let nodes = PoolMap(nodes: node.map { [$0] } ?? [])
        var settings = CacheSettings()
        settings.transport = transport
        let cache = MemcachedClient(loop: loop, pools: [.object: nodes], settings: settings)
        return Endpoint(
            .get,
            "/cached/:name",
            operationID: "cached",
            summary: "An answer from the cache.",
            tag: "bench",
            access: .open,
            output: .content("application/octet-stream")
        ) { call in
            let key = CacheKey(.object, call.request.parameters["name"] ?? "")
            let value = try await cache.fill(key, ttl: .seconds(3_600)) { body }
            return Response(contentType: "application/octet-stream", value ?? [])
        }
    }
}
