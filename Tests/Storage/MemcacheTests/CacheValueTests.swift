import Memcache
import Sharding
import Testing

struct CacheKeyTests {
    @Test func `a plain name is sent as it is`() {
        #expect(CacheKey(.object, "post:123").name == "post:123")
    }

    @Test func `a name that memcached would refuse becomes its digest`() {
        let names = ["", "a b", "a\r\nb", String(repeating: "x", count: 201), "\u{7F}"]
        let keys = names.map { CacheKey(.object, $0).name }

        #expect(keys.allSatisfy { $0.hasPrefix("#") && $0.utf8.count == 65 })
        #expect(Set(keys).count == names.count)
        #expect(
            CacheKey(.object, "").name
                == "#e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )
    }

    @Test func `keys spread over the slots`() {
        var counts = Array(repeating: 0, count: PoolMap.slotCount)
        for index in 0..<102_400 { counts[CacheKey(.feed, "home:\(index)").slot] += 1 }

        #expect(counts.min()! > 50)
        #expect(counts.max()! < 160)
    }
}

struct CacheFillTests {
    private let token = CacheToken(unique: 1, incarnation: 2)
    private let a = CacheKey(.object, "a")
    private let b = CacheKey(.object, "b")

    @Test func `a hit is answered`() {
        var fill = CacheFill(keys: [a], stale: .refused)
        fill.take([CacheLease(.filled([1]))])

        #expect(fill.found == [a: [1]])
        #expect(fill.waiting.isEmpty)
        #expect(fill.takeDue().isEmpty)
    }

    @Test func `what is ours is loaded once, with what no cache answers for`() {
        var fill = CacheFill(keys: [a, b], stale: .refused)
        fill.take([CacheLease(.owned(token: token)), CacheLease(.unavailable)])
        let due = fill.takeDue()

        #expect(due.keys == [a, b])
        #expect(due.reserved.map(\.token) == [token])
        #expect(due.unreserved == [b])
        #expect(fill.takeDue().isEmpty)
    }

    @Test func `what another loads is waited for, and loaded when patience has ended`() {
        var fill = CacheFill(keys: [a], stale: .refused)
        fill.take([CacheLease(.taken, stale: [1])])

        #expect(fill.takeDue().isEmpty)
        #expect(fill.waiting == [a])
        fill.patienceEnded = true
        #expect(fill.takeDue().unreserved == [a])
        #expect(fill.waiting.isEmpty)
    }

    @Test func `an expired value is taken only where it is allowed, and not by who loads`() {
        var allowing = CacheFill(keys: [a, b], stale: .allowed)
        allowing.take([
            CacheLease(.taken, stale: [1]), CacheLease(.owned(token: token), stale: [2]),
        ])

        #expect(allowing.found == [a: [1]])
        #expect(allowing.takeDue().keys == [b])
    }
}
