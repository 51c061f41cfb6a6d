import Administration
import Sharding
import Testing

struct MapDecisionTests {
    private let four = (1...4).map { record("s\($0)", port: 15_200 + $0) }

    @Test func `fresh shards get the first map`() throws {
        let decision = try decide(named: four)

        #expect(decision == .create(try Placement.firstMap(shards: four)))
    }

    @Test func `an interrupted first run is taken up`() throws {
        let first = try Placement.firstMap(shards: four)

        let decision = try decide(named: four, found: ownership(first, only: ["s1", "s3"]))

        #expect(decision == .create(first))
    }

    @Test func `a stored map stands`() throws {
        let first = try Placement.firstMap(shards: four)

        #expect(
            try decide(stored: first, named: four, found: ownership(first)) == .keep(first)
        )
    }

    @Test func `a new shard joins with nothing`() throws {
        let first = try Placement.firstMap(shards: four)
        let fifth = record("s5", port: 15_205)

        let map = try decide(stored: first, named: four + [fifth], found: ownership(first)).map

        #expect(map.generation == 2)
        #expect(map.shard(fifth.id) == fifth)
        #expect(map.entries == first.entries)
    }

    @Test func `a lost map is rebuilt from the owner rows`() throws {
        var truth = try Placement.firstMap(shards: four)
        truth[BucketID.all[0]].shard = four[1].id
        truth[BucketID.all[0]].epoch = Epoch(rawValue: 7)

        let map = try decide(named: four, found: ownership(truth)).map

        #expect(map.entries == truth.entries)
        #expect(map.generation == 99)
    }

    @Test func `a cluster gets a name, keeps it, and takes no other one's shards`() throws {
        let (ours, theirs) = (cluster("a"), cluster("b"))
        let nameless = try Placement.firstMap(shards: four)
        var named = nameless
        named.cluster = ours
        var found = ownership(nameless)

        #expect(try decide(cluster: ours, named: four) == .create(named))
        let taken = try decide(cluster: ours, stored: nameless, named: four, found: found).map
        #expect(taken.cluster == ours && taken.generation == 2)
        #expect(
            try decide(cluster: ours, stored: named, named: four, found: found) == .keep(named)
        )
        #expect(try MapDecision.knownCluster(stored: nil, found: found) == nil)

        let s2 = four[1].id
        found[s2] = ShardOwnership(identity: "s2", cluster: theirs, owned: found[s2]!.owned)
        #expect(try MapDecision.knownCluster(stored: nil, found: found) == theirs)
        #expect(try MapDecision.knownCluster(stored: named, found: found) == ours)
        let conflict = #expect(throws: MapConflict.self) {
            try decide(cluster: ours, stored: named, named: four, found: found)
        }
        #expect(conflict?.description.contains("s2 is shard s2 of another Tessera") == true)
        found[four[0].id] = ShardOwnership(identity: "s1", cluster: ours, owned: [:])
        #expect(throws: MapConflict.self) {
            try MapDecision.knownCluster(stored: nil, found: found)
        }
    }

    private func cluster(_ digit: Character) -> ClusterID {
        ClusterID(String(repeating: digit, count: 32))!
    }

    @Test func `contradictions are refused`() throws {
        let first = try Placement.firstMap(shards: four)
        let full = ownership(first)
        var moved = four
        moved[0].members[0].port = 1
        var torn = full
        torn[four[0].id] = ShardOwnership(identity: "s1", owned: [BucketID.all[0]: .first])
        var doubled = full
        doubled[four[0].id] = ShardOwnership(
            identity: "s1",
            owned: full[four[0].id]!.owned.merging(full[four[1].id]!.owned) { a, _ in a }
        )
        var swapped = full
        swapped[four[0].id] = ShardOwnership(identity: "s2", owned: [:])
        var emptied = full
        emptied[four[0].id] = nil

        #expect(throws: MapConflict.self) { try decide(stored: first, named: moved, found: full) }
        #expect(throws: MapConflict.self) { try decide(named: four, found: torn) }
        #expect(throws: MapConflict.self) { try decide(named: four, found: doubled) }
        #expect(throws: MapConflict.self) { try decide(named: four, found: swapped) }
        #expect(throws: MapConflict.self) { try decide(stored: first, named: four, found: emptied) }
    }

    private func decide(
        cluster: ClusterID? = nil,
        stored: ShardMap? = nil,
        named: [ShardRecord],
        found: [ShardID: ShardOwnership] = [:]
    ) throws -> MapDecision {
        try .decide(
            cluster: cluster,
            stored: stored,
            named: named,
            found: found,
            restoredGeneration: 99
        )
    }

    private func ownership(
        _ map: ShardMap,
        only names: [String] = ["s1", "s2", "s3", "s4"]
    ) -> [ShardID: ShardOwnership] {
        var found: [ShardID: ShardOwnership] = [:]
        for shard in map.shards where names.contains(shard.id.name) {
            var owned: [BucketID: Epoch] = [:]
            for bucket in map.buckets(of: shard.id) { owned[bucket] = map[bucket].epoch }
            found[shard.id] = ShardOwnership(identity: shard.id.name, owned: owned)
        }
        return found
    }
}

private func record(_ name: String, port: Int) -> ShardRecord {
    ShardRecord(id: ShardID(name)!, members: [.init(host: "127.0.0.1", port: port)])
}
