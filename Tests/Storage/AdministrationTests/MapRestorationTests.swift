import Administration
import Sharding
import Testing

struct MapRestorationTests {
    private typealias Owner = ShardInspection.Owner

    private let shards = ["s1", "s2"].map { name in
        ShardRecord(
            id: ShardID(name)!,
            members: [.init(host: "127.0.0.1", port: 15_200 + Int(name.dropFirst())!)]
        )
    }
    private let bucket = BucketID.all[7]

    @Test func `the highest epoch wins`() throws {
        let map = try restored(
            s1: Owner(epoch: Epoch(rawValue: 1), state: "gone", nextShard: "s2"),
            s2: Owner(epoch: Epoch(rawValue: 2), state: "own")
        )

        #expect(map[bucket].shard.name == "s2")
        #expect(map[bucket].epoch == Epoch(rawValue: 2))
        #expect(map.generation == 99)
    }

    @Test func `a fenced bucket is still its source's`() throws {
        let map = try restored(
            s1: Owner(epoch: Epoch(rawValue: 3), state: "fenced", nextShard: "s2"),
            s2: Owner(epoch: Epoch(rawValue: 4), state: "incoming")
        )

        #expect(map[bucket].shard.name == "s1")
    }

    @Test func `a released bucket is the next one's`() throws {
        let map = try restored(
            s1: Owner(epoch: Epoch(rawValue: 3), state: "released", nextShard: "s2"),
            s2: Owner(epoch: Epoch(rawValue: 4), state: "incoming")
        )

        #expect(map[bucket].shard.name == "s2")
        #expect(map[bucket].epoch == Epoch(rawValue: 4))
    }

    @Test func `two owners of one epoch, or none, contradict`() {
        let own = Owner(epoch: Epoch(rawValue: 2), state: "own")
        let gone = Owner(epoch: Epoch(rawValue: 2), state: "gone")

        #expect(throws: MapConflict.self) { try restored(s1: own, s2: own) }
        #expect(throws: MapConflict.self) { try restored(s1: gone, s2: gone) }
    }

    @Test func `what only an older map knows is kept`() throws {
        var known = try Placement.firstMap(shards: shards)
        known[bucket].closed = true

        let map = try restored(
            s1: Owner(epoch: .first, state: "own"),
            s2: Owner(epoch: .first, state: "gone"),
            known: known
        )

        #expect(map[bucket].closed)
    }

    /// Everything but one bucket is owned by s1.
    private func restored(s1: Owner, s2: Owner, known: ShardMap? = nil) throws -> ShardMap {
        var claims = [shards[0].id: [BucketID: Owner](), shards[1].id: [BucketID: Owner]()]
        for other in BucketID.all {
            claims[shards[0].id]![other] = Owner(epoch: .first, state: "own")
        }
        claims[shards[0].id]![bucket] = s1
        claims[shards[1].id]![bucket] = s2
        return try MapRestoration.map(of: shards, claims: claims, known: known, generation: 99)
    }
}
