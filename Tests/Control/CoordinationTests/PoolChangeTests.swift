import Coordination
import Sharding
import Testing

struct PoolChangeTests {
    private let steady = PoolMap(nodes: [
        CacheNode(host: "10.0.0.1", port: 1), CacheNode(host: "10.0.0.2", port: 1),
    ])
    private let third = CacheNode(host: "10.0.0.3", port: 1)

    /// Follows a change to its end; what it asked for on the way.
    private func course(_ map: PoolMap, warming: Duration?) -> [PoolChange.Effect] {
        var change = PoolChange(map, warming: warming)
        var effects = [change.handle(.started)]
        while effects.last != .finish, effects.count < 50 {
            switch effects.last {
            case .wait: effects.append(change.handle(.waited))
            case .stamp: effects.append(change.handle(.stamped))
            default: effects.append(change.handle(.published))
            }
        }
        return effects
    }

    @Test
    func `nodes are stamped before anybody reads elsewhere, and before the old ones are left`()
        throws
    {
        let map = try steady.adding(third)
        let warming = map.advancing()
        let settling = warming.advancing()

        #expect(
            course(map, warming: .seconds(60)) == [
                .wait(PoolChange.grace), .stamp(map.nodes, map.generation), .publish(warming),
                .wait(.seconds(60)), .publish(settling),
                .wait(PoolChange.grace), .stamp(map.nodes, settling.generation),
                .publish(settling.advancing()), .finish,
            ]
        )
    }

    @Test(arguments: [PoolMap.Phase.announced, .warming, .settling])
    func `whoever comes later goes on from the map as it is`(phase: PoolMap.Phase) throws {
        var map = try steady.adding(third)
        let whole = course(map, warming: .seconds(5))
        while map.phase != phase { map = map.advancing() }

        let rest = course(map, warming: .seconds(5))

        #expect(Array(whole.suffix(rest.count)) == rest)
    }

    @Test func `without warming the new nodes answer alone at once`() throws {
        let map = try steady.adding(third)

        let effects = course(map, warming: nil)

        #expect(effects.contains(.publish(map.advancing(warm: false))))
        #expect(map.advancing(warm: false).phase == .settling)
    }
}
