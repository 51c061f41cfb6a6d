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

    @Test func `a hit is answered`() {
        var fill = CacheFill()

        #expect(fill.apply(.looked([1])) == [.answer([1])])
    }

    @Test func `a miss is reserved before it is loaded, and stored with the token`() {
        var fill = CacheFill()

        #expect(fill.apply(.looked(nil)) == [.reserve])
        #expect(fill.apply(.reserved(.owned(token: token))) == [.load])
        #expect(fill.apply(.loaded([1])) == [.store([1], token), .answer([1])])
    }

    @Test func `what another has filled meanwhile is answered without a load`() {
        var fill = CacheFill()

        _ = fill.apply(.looked(nil))
        #expect(fill.apply(.reserved(.filled([3]))) == [.answer([3])])
    }

    @Test(arguments: [CacheReservation.taken, .unavailable])
    func `without a reservation nothing is stored`(reservation: CacheReservation) {
        var fill = CacheFill()

        _ = fill.apply(.looked(nil))
        #expect(fill.apply(.reserved(reservation)) == [.load])
        #expect(fill.apply(.loaded([1])) == [.answer([1])])
    }

    @Test func `an absent value and a failed load take the marker away`() {
        var absent = CacheFill()
        _ = absent.apply(.looked(nil))
        _ = absent.apply(.reserved(.owned(token: token)))
        var failed = absent

        #expect(absent.apply(.loaded(nil)) == [.release, .answer(nil)])
        #expect(failed.apply(.loadFailed) == [.release])
    }
}
