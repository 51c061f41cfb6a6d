import Memcache
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
        var counts = Array(repeating: 0, count: CacheSlotMap.slotCount)
        for index in 0..<102_400 { counts[CacheKey(.feed, "home:\(index)").slot] += 1 }

        #expect(counts.min()! > 50)
        #expect(counts.max()! < 160)
    }
}

struct CacheSlotMapTests {
    private func nodes(_ count: Int) -> [CacheNode] {
        (0..<count).map { CacheNode(host: "10.0.0.\($0)", port: 11211) }
    }

    @Test(arguments: 1...8) func `each node has about its share`(count: Int) {
        let map = CacheSlotMap(nodes: nodes(count))

        for node in 0..<count {
            let share = map.owners.count { Int($0) == node } * count
            #expect((700...1350).contains(share), "\(share)")
        }
    }

    @Test(arguments: 1...8) func `one node more takes slots from others and moves no other`(
        count: Int
    ) {
        let before = CacheSlotMap(nodes: nodes(count))
        let after = CacheSlotMap(nodes: nodes(count + 1))

        for slot in 0..<CacheSlotMap.slotCount where before.owners[slot] != after.owners[slot] {
            #expect(Int(after.owners[slot]) == count)
        }
    }

    @Test func `an empty pool owns nothing`() {
        #expect(CacheSlotMap(nodes: []).owner(of: 5) == nil)
    }

    @Test func `a map from elsewhere must name nodes that exist, for every slot`() {
        let owners = Array(repeating: UInt16(1), count: CacheSlotMap.slotCount)

        #expect(CacheSlotMap(nodes: nodes(2), owners: owners) != nil)
        #expect(CacheSlotMap(nodes: nodes(1), owners: owners) == nil)
        #expect(CacheSlotMap(nodes: nodes(2), owners: [0, 1]) == nil)
    }

    @Test func `addresses are read`() {
        #expect(CacheNode("127.0.0.1:15400") == CacheNode(host: "127.0.0.1", port: 15400))
        for text in ["", "host", "host:", ":1", "host:0", "host:70000", "host:x"] {
            #expect(CacheNode(text) == nil, "\(text)")
        }
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
