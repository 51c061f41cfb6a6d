import Database
import Etcd
import EventLoops
import Sharding
import TestSupport
import Testing

/// What a process tells etcd of the map that it uses, with a real etcd.
struct NodeReporterTests {
    @Test func `a process tells which map all of its loops use, and each newer one at once`()
        async throws
    {
        let etcd = try await EtcdServer.start()
        let cluster = try await TestCluster.make(shards: 1)
        let folder = try makeFolder()
        try await withLoop { loop in
            let settings = EtcdSettings(endpoints: [etcd.endpoint])
            let client = EtcdClient(loop: loop, settings: settings)
            defer { client.close() }
            let store = MapStore(etcd: client)
            #expect(try await store.save(cluster.map, replacing: nil))
            let follower = MapFollower(loop: loop, etcd: settings, copy: "\(folder)/map")
            let map = try await follower.firstMap()
            let database = Database(
                loop: loop,
                map: map,
                settings: DatabaseSettings(user: "app", password: nil)
            )
            let identity = NodeIdentity(role: "test", schemas: ["Database": 5])
            follower.follow([database], as: identity)
            let key = "/tessera/nodes/\(identity.name)"

            for generation in 1...4 {
                if generation > 1 {
                    var newer = map
                    newer.generation = Int64(generation)
                    #expect(try await store.save(newer, replacing: try await store.load()))
                }
                let wanted = "\"generation\":\(generation)"
                while try await client.get(key)?.text?.contains(wanted) != true {
                    try await loop.sleep(for: .milliseconds(5))
                }
            }
            let text = try await client.get(key)?.text ?? ""
            #expect(text.contains("\"role\":\"test\"") && text.contains("\"Database\":5"))
            follower.stop()
        }
        removeFolder(folder)
        await etcd.process.stop()
    }
}
