import Sharding
import Testing

struct PoolMapTests {
    private func node(_ number: Int) -> CacheNode {
        CacheNode(host: "10.0.0.\(number)", port: 11211)
    }

    private func steady(_ count: Int) throws -> PoolMap {
        var map = PoolMap(nodes: [node(1)])
        for number in 1..<max(count, 2) where count > 1 {
            map = try map.adding(node(number + 1))
            while map.phase != .steady { map = map.advancing() }
        }
        return map
    }

    @Test(arguments: 1...8) func `each node of a first map has about its share`(count: Int) {
        let map = PoolMap(nodes: (1...count).map(node))

        for held in map.counts.values {
            #expect((700...1350).contains(held * count), "\(held)")
        }
        #expect(map.generation == 0 && map.phase == .steady)
    }

    @Test func `an empty pool has no routes`() { #expect(PoolMap(nodes: []).route(of: 5) == nil) }

    @Test(arguments: 1...16) func `one node more takes its share, and nothing else moves`(
        count: Int
    ) throws {
        let before = try steady(count)
        let after = try before.adding(node(99))

        let moved = after.moving.count
        #expect(moved == PoolMap.slotCount / (count + 1))
        #expect(after.counts[node(99)] == moved)
        for slot in 0..<PoolMap.slotCount where !after.moving.contains(slot) {
            #expect(after.nodes[Int(after.owners[slot])] == before.nodes[Int(before.owners[slot])])
        }
        #expect(after.counts.values.max()! - after.counts.values.min()! <= 2)
        #expect(try before.adding(node(99)) == after, "the same map gives the same plan")
    }

    @Test func `a change goes through its phases, each a generation`() throws {
        let before = try steady(4)
        var map = try before.adding(node(5))
        let slot = map.moving[0]
        let from = try #require(map.nodes.firstIndex(of: before.nodes[Int(before.owners[slot])]))
        let to = try #require(map.nodes.firstIndex(of: node(5)))

        #expect(map.route(of: slot) == .announced(from: from, to: to))
        #expect(map.stampsDue == map.nodes)
        map = map.advancing()
        #expect(map.route(of: slot) == .warming(from: from, to: to))
        #expect(map.stampsDue.isEmpty)
        map = map.advancing()
        #expect(map.route(of: slot) == .settling(from: from, to: to))
        #expect(map.stampsDue == map.nodes)
        map = map.advancing()
        #expect(map.route(of: slot) == .steady(to))
        #expect(map.generation == before.generation + 4)
        #expect(map.advancing() == map)
    }

    @Test(arguments: [PoolMap.Phase.announced, .warming, .settling])
    func `a change is abandoned by the way of its announcement`(phase: PoolMap.Phase) throws {
        let before = try steady(3)
        var map = try before.adding(node(4))
        while map.phase != phase { map = map.advancing() }

        if phase != .announced {
            map = map.abandoning()
            #expect(map.phase == .announced)
        }
        map = map.abandoning()

        #expect(map.phase == .steady)
        #expect(map.nodes == before.nodes && map.owners == before.owners)
    }

    @Test func `a pool that is not warmed settles at once`() throws {
        let map = try steady(2).adding(node(3)).advancing(warm: false)

        #expect(map.phase == .settling)
    }

    @Test func `a node that leaves gives its slots to those which have fewest`() throws {
        var map = try steady(5).removing(node(2))
        #expect(map.nodes.contains(node(2)), "it is still deleted from")
        #expect(map.stampsDue == map.nodes)
        while map.phase != .steady { map = map.advancing() }

        #expect(map.nodes.count == 4)
        #expect(map.counts.values.allSatisfy { $0 == 256 }, "\(map.counts)")
    }

    @Test func `a node is replaced by one that gets what it had, and no more`() throws {
        let before = try steady(3)
        var map = try before.replacing(node(2), with: node(9))
        #expect(map.moving.count == before.counts[node(2)])
        while map.phase != .steady { map = map.advancing() }

        #expect(map.nodes == [node(1), node(3), node(9)])
        #expect(map.counts[node(9)] == before.counts[node(2)])
    }

    @Test func `a dead node is replaced without warming`() throws {
        let before = try steady(3)
        let map = try before.losing(node(2), replacement: node(9))

        #expect(map.phase == .steady)
        #expect(map.counts[node(9)] == before.counts[node(2)])
        #expect(map.nodes == [node(1), node(3), node(9)])
    }

    @Test func `a dead node's slots go to the others`() throws {
        let map = try steady(3).losing(node(2))

        #expect(map.phase == .steady)
        #expect(map.counts.values.sorted() == [512, 512])
    }

    @Test(arguments: [PoolMap.Phase.announced, .warming, .settling])
    func `a node that dies on its way in takes its change with it`(phase: PoolMap.Phase) throws {
        let before = try steady(3)
        var map = try before.adding(node(4))
        while map.phase != phase { map = map.advancing() }

        let lost = try map.losing(node(4))

        #expect(lost.phase == .steady)
        #expect(lost.nodes == before.nodes && lost.owners == before.owners)
    }

    @Test func `a node that dies while it is being left has left`() throws {
        var map = try steady(3).replacing(node(2), with: node(9))
        map = map.advancing()

        let lost = try map.losing(node(2))

        #expect(lost.phase == .steady)
        #expect(lost.nodes == [node(1), node(3), node(9)])
    }

    @Test func `what goes on beside a dead node goes on`() throws {
        let map = try steady(3).adding(node(4)).losing(node(1))

        #expect(map.phase == .announced)
        #expect(!map.nodes.contains(node(1)))
        #expect(map.moving.allSatisfy { map.nodes[Int(map.owners[$0])] == node(4) })
    }

    @Test func `what does not fit is refused`() throws {
        let map = try steady(2)

        #expect(throws: PoolMapError.self) { try map.adding(node(1)) }
        #expect(throws: PoolMapError.self) { try map.removing(node(7)) }
        #expect(throws: PoolMapError.self) { try map.replacing(node(1), with: node(2)) }
        #expect(throws: PoolMapError.self) { try map.adding(node(3)).adding(node(4)) }
        #expect(throws: PoolMapError.self) { try steady(1).removing(node(1)) }
        #expect(throws: PoolMapError.self) { try steady(1).losing(node(1)) }
    }

    @Test func `the stored form comes back, at every phase`() throws {
        var map = try steady(4).adding(node(5))
        for _ in PoolMap.Phase.allCases {
            #expect(try PoolMap(text: map.text) == map)
            map = map.advancing()
        }
    }

    @Test func `a torn, altered or foreign text is refused`() throws {
        let text = try steady(2).adding(node(3)).text

        #expect(throws: PoolMapError.self) { try PoolMap(text: String(text.dropLast(9))) }
        #expect(throws: PoolMapError.self) {
            try PoolMap(text: text.replacing("generation 5", with: "generation 6"))
        }
        #expect(throws: PoolMapError.self) { try PoolMap(text: "") }
        #expect(throws: PoolMapError.self) {
            try PoolMap(text: text.replacing("tessera-pool 1", with: "tessera-pool 2"))
        }
    }

    @Test func `addresses are read`() {
        #expect(CacheNode("127.0.0.1:15400") == CacheNode(host: "127.0.0.1", port: 15400))
        for text in ["", "host", "host:", ":1", "host:0", "host:70000", "host:x", "a b:1"] {
            #expect(CacheNode(text) == nil, "\(text)")
        }
    }
}
