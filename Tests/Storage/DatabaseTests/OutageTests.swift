import Database
import Etcd
import EventLoops
import Glibc
import Postgres
import Sharding
import TestSupport
import Testing

struct OutageTests {
    @Test(.timeLimit(.minutes(5)))
    func `a shard that is down for 30 s stops its own keys only, and loses nothing`() async throws {
        let cluster = try await aCluster(shards: 2, ownServers: true)
        let (down, up) = (cluster.shards[0], cluster.shards[1])

        let (downLog, upLog) = (WriteLog(), WriteLog())
        try await withDatabase(cluster) { database in
            async let downEnds: Void = write(keys(of: down, cluster), database, downLog)
            async let upEnds: Void = write(keys(of: up, cluster), database, upLog)
            try await wait(on: database) { downLog.acknowledged.count > 10 }
            await down.server.process.kill()
            let before = upLog.acknowledged.count
            try await database.loop.sleep(for: .seconds(30))
            #expect(upLog.acknowledged.count - before > 30, "the other shard's keys go on")
            try await down.server.startAgain()
            // It serves again by itself.
            let refused = downLog.lastFailure
            try await wait(on: database) { downLog.lastSuccess > max(refused, downLog.lastFailure) }
            downLog.isEnough = true
            upLog.isEnough = true
            _ = try await (downEnds, upEnds)
        }

        #expect(upLog.failures.isEmpty, "the other shard's keys: \(upLog.failures.prefix(3))")
        // Refusals come soon, many of them in 30 s: a caller's answer is a 503 with Retry-After.
        #expect(downLog.failures.count > 2)
        #expect(downLog.failures.allSatisfy { $0 == .unavailable || $0 == .outcomeUnknown })
        for (shard, log) in [(down, downLog), (up, upLog)] {
            let found = Set(try await shard.psql("SELECT id FROM note").split(separator: "\n"))
            #expect(log.acknowledged.allSatisfy { found.contains("\($0)") })
        }
        await cluster.stopServers()
    }

    @Test func `a gather goes on without the shard that is down, and names it`() async throws {
        let cluster = try await aCluster(shards: 2, ownServers: true)
        let (down, up) = (cluster.shards[0], cluster.shards[1])
        let buckets = [keys(of: down, cluster)[0], keys(of: up, cluster)[0]]

        try await withDatabase(cluster) { database in
            for bucket in buckets {
                try await database.write(
                    on: bucket,
                    [Note.insert(Note(id: Int64(bucket.rawValue), text: "a"), in: bucket)]
                )
            }
            await down.server.process.kill()

            let (rows, missing): ([Note], [ShardID]) = await database.gatherAvailable(buckets) {
                Note.all(in: $0)
            }
            let error = await #expect(throws: DatabaseError.self) {
                let _: [Note] = try await database.gather(buckets) { Note.all(in: $0) }
            }

            #expect(rows.map(\.id) == [Int64(buckets[1].rawValue)])
            #expect(missing.map(\.name) == [down.id])
            #expect(error?.isRetryable == true)
        }
        await cluster.stopServers()
    }

    @Test func `with etcd stopped a node starts from its disk, reads and writes`() async throws {
        let cluster = try await aCluster(shards: 2)
        let etcd = try await EtcdServer.start()
        let folder = try makeFolder()
        let settings = EtcdSettings(endpoints: [etcd.endpoint])
        try await withLoop { loop in
            let client = EtcdClient(loop: loop, settings: settings)
            defer { client.close() }
            let stored = try await MapStore(etcd: client).save(cluster.map, replacing: nil)
            #expect(stored)
            let follower = MapFollower(loop: loop, etcd: settings, copy: "\(folder)/map")
            let first = try await follower.firstMap()
            #expect(first == cluster.map)
        }
        await etcd.process.kill()

        try await withLoop { loop in
            let follower = MapFollower(loop: loop, etcd: settings, copy: "\(folder)/map")
            let map = try await follower.firstMap()
            let database = Database(
                loop: loop,
                map: map,
                settings: DatabaseSettings(user: "app", password: "app-secret")
            )
            follower.follow([database])
            for bucket in BucketID.all.prefix(8) {
                let note = Note(id: 1, text: "\(bucket)")
                try await database.write(on: bucket, [Note.insert(note, in: bucket)])
                let found: [Note] = try await database.rows(Note.all(in: bucket), on: bucket)
                #expect(found == [note])
            }

            // etcd comes back with a newer map, which is followed again without a restart.
            try await etcd.startAgain()
            let client = EtcdClient(loop: loop, settings: settings)
            defer { client.close() }
            let store = MapStore(etcd: client)
            var newer = map
            newer.generation = 2
            newer[BucketID.all[0]].closed = true
            let before = try await store.load()
            let replaced = try await store.save(newer, replacing: before)
            #expect(replaced)
            while database.map != newer { try await loop.sleep(for: .milliseconds(20)) }
            while try MapFile(path: "\(folder)/map").load() != newer {
                try await loop.sleep(for: .milliseconds(20))
            }

            follower.stop()
            await database.close()
        }
        await etcd.process.stop()
        removeFolder(folder)
    }

    @Test func `every loop's database takes a new map`() async throws {
        let cluster = try await aCluster(shards: 1)
        let etcd = try await EtcdServer.shared()
        let folder = try makeFolder()
        try await withLoop { loop in
            let settings = EtcdSettings(endpoints: [etcd.endpoint])
            let client = EtcdClient(loop: loop, settings: settings)
            defer { client.close() }
            // Tests share this etcd, and this is the only one that uses the map's key in it.
            let store = MapStore(etcd: client)
            let stored = try await store.save(cluster.map, replacing: nil)
            #expect(stored)
            let follower = MapFollower(loop: loop, etcd: settings, copy: "\(folder)/map")
            let map = try await follower.firstMap()
            let others = LoopGroup(count: 2)
            let databases = others.loops.map {
                Database(loop: $0, map: map, settings: DatabaseSettings(user: "app", password: nil))
            }
            follower.follow(databases)

            var newer = map
            newer.generation += 1
            let before = try await store.load()
            let replaced = try await store.save(newer, replacing: before)
            #expect(replaced)

            for database in databases {
                while await generation(of: database) != newer.generation {
                    try await loop.sleep(for: .milliseconds(10))
                }
            }
            follower.stop()
            await blocking { others.stopAndJoin() }
        }
        removeFolder(folder)
    }

    @Test func `a node with neither etcd nor a copy says so`() async throws {
        let folder = try makeFolder()
        try await withLoop { loop in
            let settings = EtcdSettings(endpoints: ["http://127.0.0.1:1"])
            let follower = MapFollower(loop: loop, etcd: settings, copy: "\(folder)/map")
            await #expect(throws: MapFollower.NoMap.self) { try await follower.firstMap() }

            try writeText("tessera-map 1\ngeneration 1\n", to: "\(folder)/map")
            let error = await #expect(throws: MapFollower.NoMap.self) {
                try await follower.firstMap()
            }
            #expect(error?.description.contains("cut off") == true)
        }
        removeFolder(folder)
    }

    @Test func `a follower without a path keeps no copy`() async throws {
        try await withLoop { loop in
            let settings = EtcdSettings(endpoints: ["http://127.0.0.1:1"])
            let follower = MapFollower(loop: loop, etcd: settings, copy: "")
            let error = await #expect(throws: MapFollower.NoMap.self) {
                try await follower.firstMap()
            }
            #expect(error?.description.hasSuffix("no copy is kept") == true)
        }
    }

    /// Waits for what the writers saw; the test's time limit ends a wait in vain.
    private func wait(on database: Database, for condition: () -> Bool) async throws {
        while !condition() { try await database.loop.sleep(for: .milliseconds(20)) }
    }

    private func generation(of database: Database) async -> Int64 {
        await withCheckedContinuation { done in
            database.loop.execute { done.resume(returning: database.map.generation) }
        }
    }

    private func keys(of shard: TestShard, _ cluster: TestCluster) -> [BucketID] {
        cluster.map.buckets(of: ShardID(shard.id)!)
    }
}

/// What a writer saw.
private final class WriteLog: @unchecked Sendable {
    // @unchecked: touched on one loop only, and by the test once that loop has ended.
    var acknowledged: [Int64] = []
    var failures: [DatabaseError] = []
    var lastSuccess: Int64 = 0
    var lastFailure: Int64 = 0
    var isEnough = false
}

/// Writes one note after the other, each with a new id, until it is enough.
private func write(_ buckets: [BucketID], _ database: Database, _ log: WriteLog) async throws {
    var id: Int64 = 0
    while !log.isEnough {
        id += 1
        let bucket = buckets[Int(id) % buckets.count]
        do throws(DatabaseError) {
            try await database.write(on: bucket, [Note.insert(Note(id: id, text: "n"), in: bucket)])
            log.acknowledged.append(id)
            log.lastSuccess = id
        } catch {
            log.failures.append(error)
            log.lastFailure = id
        }
        try await database.loop.sleep(for: .milliseconds(5))
    }
}
