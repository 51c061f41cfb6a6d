import Etcd
import EventLoops
import Memcache
import Sharding
import TestSupport
import Testing

/// How a process gets the maps of its pools, from a real etcd.
@Suite(.serialized) struct PoolFollowerTests {
    private let drawn = PoolMap(nodes: [CacheNode(host: "127.0.0.1", port: 1)])

    private func follower(
        _ loop: EventLoop,
        _ etcd: EtcdServer,
        copies: String
    ) -> PoolFollower {
        PoolFollower(
            loop: loop,
            etcd: EtcdSettings(endpoints: [etcd.endpoint]),
            copies: copies,
            drawn: Dictionary(uniqueKeysWithValues: CachePool.allCases.map { ($0, drawn) })
        )
    }

    @Test func `clients get the stored map, every newer one, and the copy when etcd is gone`()
        async throws
    {
        let etcd = try await EtcdServer.start()
        let folder = try makeFolder()
        let drawn = drawn
        try await withLoop { loop in
            let client = EtcdClient(
                loop: loop,
                settings: EtcdSettings(endpoints: [etcd.endpoint])
            )
            let store = PoolStore(etcd: client)
            let stored = try drawn.adding(CacheNode(host: "127.0.0.1", port: 2))
            #expect(try await store.save(stored, of: "feed", replacing: nil))
            #expect(try await !store.save(stored, of: "feed", replacing: nil))

            let follower = follower(loop, etcd, copies: "\(folder)/map")
            await follower.begin()
            let cache = follower.client(on: loop)
            follower.follow([cache])
            #expect(cache.map(of: .feed) == stored)
            #expect(cache.map(of: .object) == drawn)

            let previous = try await store.load("feed")
            #expect(try await store.save(stored.advancing(), of: "feed", replacing: previous))
            let heard = await eventually(loop) {
                cache.map(of: .feed) == stored.advancing()
            }
            #expect(heard)
            // The copy is written when the clients have the map.
            let kept = await eventually(loop) {
                readText("\(folder)/map.pool-feed") == stored.advancing().text
            }
            #expect(kept)
            follower.stop()
            client.close()

            await etcd.process.kill()
            let late = self.follower(loop, etcd, copies: "\(folder)/map")
            await late.begin()
            let isNewest = late.client(on: loop).map(of: .feed) == stored.advancing()
            #expect(isNewest)
            #expect(late.client(on: loop).map(of: .session) == drawn)
        }
    }
}
