import EventLoops
import Sharding
import TestSupport
import Testing

@testable import Memcache

struct HotCopiesTests {
    private let key = CacheKey(.object, "hot")

    private func copies() -> HotCopies { HotCopies { 10_000 } }

    private func ask(_ copies: HotCopies, _ key: CacheKey, times: Int, value: [UInt8] = [1]) {
        for _ in 0..<times { copies.offer(key, value, copies.look(at: key)) }
    }

    @Test func `a value is held once it is asked for often`() {
        let copies = copies()

        ask(copies, key, times: Int(HotCopies.threshold) - 1)
        #expect(copies.value(of: key) == nil)
        ask(copies, key, times: 1)
        #expect(copies.value(of: key) == [1])
    }

    @Test func `it is held for a second`() {
        let clock = Clock()
        let copies = HotCopies { clock.now }
        ask(copies, key, times: Int(HotCopies.threshold))

        clock.now += 999
        #expect(copies.value(of: key) == [1])
        clock.now += 1
        #expect(copies.value(of: key) == nil)
    }

    @Test func `what is dropped is gone, and so is an answer from before`() {
        let copies = copies()
        ask(copies, key, times: Int(HotCopies.threshold))
        let look = copies.look(at: key)

        copies.drop([key])
        copies.offer(key, [1], look)

        #expect(copies.value(of: key) == nil)
        copies.offer(key, [2], copies.look(at: key))
        #expect(copies.value(of: key) == [2])
    }

    @Test func `copies are bounded in number, in bytes and in size`() {
        let copies = copies()
        let large = CacheKey(.object, "large")
        ask(copies, large, times: 100, value: Array(repeating: 0, count: HotCopies.valueLimit + 1))
        #expect(copies.value(of: large) == nil)

        for index in 0..<(HotCopies.entryLimit + 100) {
            ask(copies, CacheKey(.object, "many-\(index)"), times: Int(HotCopies.threshold))
        }
        #expect(copies.count == HotCopies.entryLimit)

        let few = self.copies()
        let value = Array(repeating: UInt8(0), count: HotCopies.valueLimit)
        for index in 0..<1_000 {
            let key = CacheKey(.object, "few-\(index)")
            ask(few, key, times: Int(HotCopies.threshold), value: value)
        }
        #expect(few.count == HotCopies.byteLimit / HotCopies.valueLimit)
    }
}

private final class Clock {
    var now: UInt64 = 10_000
}

@Suite(.serialized) struct HotKeysTests {
    @Test func `a hot value is read in the process until the process changes it`() async throws {
        let server = try await MemcachedServer.start(megabytes: 16)
        let map = PoolMap(nodes: [CacheNode(host: server.host, port: UInt16(server.port))])
        let key = CacheKey(.object, "hot")
        try await withLoop { loop in
            let client = MemcachedClient(loop: loop, pools: [.object: map])
            let hot = client.hot
            await client.set(key, [1], ttl: .seconds(60))
            for _ in 0..<100 {
                let value = try await hot.fill(key, ttl: .seconds(60)) { [9] }
                #expect(value == [1])
            }
            #expect(client.copies.hits > 0)
            #expect(await client.get(key) == [1])

            #expect(await client.delete([key]))
            let value = try await hot.fill(key, ttl: .seconds(60)) { [2] }
            #expect(value == [2])
        }
    }

    @Test func `what one loop changes the other loops do not hold any more`() async throws {
        let server = try await MemcachedServer.start(megabytes: 16)
        let map = PoolMap(nodes: [CacheNode(host: server.host, port: UInt16(server.port))])
        let key = CacheKey(.object, "hot-elsewhere")
        try await withLoop { loop in
            let one = MemcachedClient(loop: loop, pools: [.object: map])
            let other = MemcachedClient(loop: loop, pools: [.object: map])
            one.know([other])
            other.know([one])
            let hot = other.hot
            _ = one.hot
            await one.set(key, [1], ttl: .seconds(60))
            for _ in 0..<100 { #expect(await hot.get(key) == [1]) }
            #expect(other.copies.hits > 0)

            #expect(await one.delete([key]))

            #expect(await hot.get([key]).isEmpty)
        }
    }
}
