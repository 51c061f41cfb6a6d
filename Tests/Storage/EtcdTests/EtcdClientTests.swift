import Etcd
import EventLoops
import TestSupport
import Testing

struct EtcdClientTests {
    @Test func `what is put is read back, with the revision of its write`() async throws {
        try await withEtcd { etcd, key in
            #expect(try await etcd.get(key) == nil)

            let revision = try await etcd.put(key, Array("tessera ÷ \u{1F4F7}".utf8))

            let entry = try #require(try await etcd.get(key))
            #expect(entry.text == "tessera ÷ \u{1F4F7}")
            #expect(entry.revision == revision)
            #expect(entry.key == key)
        }
    }

    @Test(arguments: [0, 1, 2, 3, 4, 255, 4_096, 30_000])
    func `values of every length and every byte survive`(length: Int) async throws {
        try await withEtcd { etcd, key in
            let value = (0..<length).map { UInt8(truncatingIfNeeded: $0 * 37) }

            try await etcd.put(key, value)

            #expect(try await etcd.get(key)?.value == value)
        }
    }

    @Test func `a compare-and-set happens only where it is as expected`() async throws {
        try await withEtcd { etcd, key in
            let first = try #require(try await etcd.put(key, [1], expecting: .absent))

            #expect(try await etcd.put(key, [2], expecting: .absent) == nil)
            #expect(try await etcd.put(key, [3], expecting: .revision(first + 1)) == nil)
            let second = try await etcd.put(key, [4], expecting: .revision(first))

            #expect(try await etcd.get(key)?.value == [4])
            #expect(try await etcd.get(key)?.revision == second)
            #expect(try await etcd.delete(key, expecting: .revision(first)) == false)
            #expect(try await etcd.delete(key))
            #expect(try await etcd.get(key) == nil)
        }
    }

    @Test func `a prefix finds its keys and no others`() async throws {
        try await withEtcd { etcd, key in
            for name in ["/b", "/a", ""] { try await etcd.put(key + name, [7]) }

            let found = try await etcd.snapshot(prefix: key + "/")

            #expect(found.entries.map(\.key) == [key + "/a", key + "/b"])
        }
    }

    @Test func `a watch tells every change from its revision on, in order`() async throws {
        try await withEtcd { etcd, key in
            let before = try await etcd.snapshot(of: key).revision
            let first = try await etcd.put(key, [1])
            let second = try await etcd.put(key, [2])
            try await etcd.delete(key)

            let seen = try await changes(3, of: key, from: before + 1, etcd)

            #expect(seen[0] == .put(EtcdEntry(key: key, value: [1], revision: first)))
            #expect(seen[1] == .put(EtcdEntry(key: key, value: [2], revision: second)))
            guard case .deleted(key, let third) = seen[2], third > second else {
                Issue.record("\(seen[2])")
                return
            }
        }
    }

    @Test func `a key under a lease ends with it`() async throws {
        try await withEtcd { etcd, key in
            let lease = try await etcd.grantLease(seconds: 60)
            try await etcd.put(key, [1], lease: lease)
            #expect(try await etcd.keepAlive(lease))

            try await etcd.revoke(lease)
            try await etcd.revoke(lease)

            #expect(try await etcd.get(key) == nil)
            #expect(try await etcd.keepAlive(lease) == false)
        }
    }

    @Test func `a dead endpoint is passed over, and none at all is said so`() async throws {
        let server = try await EtcdServer.shared()
        try await withLoop { loop in
            let etcd = EtcdClient(
                loop: loop,
                settings: EtcdSettings(endpoints: ["http://127.0.0.1:1", server.endpoint])
            )
            let dead = EtcdClient(
                loop: loop,
                settings: EtcdSettings(endpoints: ["http://127.0.0.1:1"])
            )
            defer {
                etcd.close()
                dead.close()
            }

            let nothing = try await etcd.get("nothing")
            #expect(nothing == nil)
            let error = await #expect(throws: EtcdError.self) { try await dead.get("nothing") }
            guard case .unavailable = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }
}

struct EtcdRecoveryTests {
    @Test func `a token that has expired is replaced, and a wrong password is denied`() async throws
    {
        let server = try await EtcdServer.start()
        try await server.requirePassword("secret")
        try await withLoop { loop in
            var settings = EtcdSettings(
                endpoints: [server.endpoint],
                user: "root",
                password: "secret"
            )
            let etcd = EtcdClient(loop: loop, settings: settings)
            settings.password = "wrong"
            let stranger = EtcdClient(loop: loop, settings: settings)
            defer {
                etcd.close()
                stranger.close()
            }
            try await etcd.put("k", [1])

            // The server's tokens live for 2 seconds.
            try await loop.sleep(for: .seconds(4))

            #expect(try await etcd.get("k")?.value == [1])
            let error = await #expect(throws: EtcdError.self) { try await stranger.get("k") }
            guard case .denied = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        await server.process.stop()
    }

    @Test func `a watch misses nothing while etcd is killed and comes back`() async throws {
        let server = try await EtcdServer.start()
        let settings = EtcdSettings(endpoints: [server.endpoint])
        try await withLoop { loop in
            let etcd = EtcdClient(loop: loop, settings: settings)
            defer { etcd.close() }
            let start = try await etcd.put("k", [0])

            async let seen = changes(3, of: "k", from: start + 1, etcd)
            try await etcd.put("k", [1])
            await server.process.kill()
            try await server.startAgain()
            let writer = EtcdClient(loop: loop, settings: settings)
            defer { writer.close() }
            try await writer.put("k", [2])
            try await writer.put("k", [3])

            let values: [[UInt8]] = try await seen.map { change in
                if case .put(let entry) = change { entry.value } else { [] }
            }
            #expect(values == [[1], [2], [3]])
        }
        await server.process.stop()
    }
}

/// Runs a test with a client of the shared etcd and a key of its own.
private func withEtcd(
    _ body: @escaping @Sendable (EtcdClient, String) async throws -> Void
) async throws {
    let server = try await EtcdServer.shared()
    let key = "/test/\(UInt64.random(in: 0 ... .max))"
    try await withLoop { loop in
        let etcd = EtcdClient(loop: loop, settings: EtcdSettings(endpoints: [server.endpoint]))
        defer { etcd.close() }
        try await body(etcd, key)
    }
}

/// The first `count` changes of a key.
private func changes(
    _ count: Int,
    of key: String,
    from revision: Int64,
    _ etcd: EtcdClient
) async throws -> [EtcdChange] {
    let (stream, feed) = AsyncStream.makeStream(of: EtcdChange.self)
    return await withTaskGroup(of: Void.self) { group in
        group.addTask {
            // Ends by cancellation, below.
            do { try await etcd.watch(key, from: revision) { feed.yield($0) } } catch {}
        }
        var seen: [EtcdChange] = []
        for await change in stream {
            seen.append(change)
            if seen.count == count { break }
        }
        group.cancelAll()
        return seen
    }
}
