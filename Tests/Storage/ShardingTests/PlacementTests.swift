import Sharding
import Testing

struct PlacementTests {
    @Test func `no shard of 4 holds more than 1,1 times its share of 100,000 user keys`() throws {
        let map = try Placement.firstMap(shards: shards(4))
        let open = map.openBuckets(in: .local)
        var random = SeededRandom(seed: 2)
        var users: [ShardID: Int] = [:]

        for _ in 0..<100_000 {
            let key = withUnsafeBytes(of: random.next()) { Array($0) }
            let bucket = try #require(open.bucket(forNewUser: key))
            users[map[bucket].shard, default: 0] += 1
        }

        #expect(users.count == 4)
        #expect(users.values.max()! <= 27_500)
    }

    @Test(arguments: [1, 2, 4, 7, 16, 32, 333])
    func `the first map gives each shard its share, rounded`(count: Int) throws {
        let map = try Placement.firstMap(shards: shards(count))

        let held = bucketsHeld(map)

        #expect(held.count == count)
        #expect(held.max()! <= (BucketID.count + count - 1) / count)
        #expect(held.min()! >= BucketID.count / count)
    }

    @Test func `a shard of weight 3 holds three times as much, one of weight 0 nothing`() throws {
        var three = shards(4)
        three[1].weight = 3
        three[3].weight = 0

        let map = try Placement.firstMap(shards: three)

        #expect(map.buckets(of: three[1].id).count == 614)
        #expect(map.buckets(of: three[3].id).isEmpty)
    }

    @Test func `adding a shard moves at most 1,05 times its share, up to 1,000 shards`() throws {
        var map = try Placement.firstMap(shards: shards(1))

        for count in 2...1_000 {
            let new = shard(count)
            map.put(new)
            let moves = Placement.plan(filling: new.id, in: map)
            for move in moves {
                try #require(map[move.bucket].shard == move.from)
                map[move.bucket].shard = move.to
            }
            let bound = Placement.moveBound * Double(BucketID.count) / Double(count)
            try #require(Double(moves.count) <= bound, "at \(count) shards")
            try #require(moves.count >= BucketID.count / count, "at \(count) shards")
            try #require(Set(moves.map(\.bucket)).count == moves.count)
            let held = bucketsHeld(map)
            try #require(held.max()! <= BucketID.count / count + 2, "at \(count) shards")
        }
    }

    @Test func `a plan moves buckets to the new shard only and repeats itself`() throws {
        var map = try Placement.firstMap(shards: shards(4))
        map.put(shard(5))

        let plan = Placement.plan(filling: shard(5).id, in: map)

        #expect(plan.allSatisfy { $0.to == shard(5).id && $0.from != $0.to })
        #expect(plan == Placement.plan(filling: shard(5).id, in: map))
        #expect(plan.count == 205)
    }

    @Test func `a plan leaves the buckets of another region alone`() throws {
        let north = try #require(Region("north"))
        var all = shards(2)
        all[1].region = north
        var map = try Placement.firstMap(shards: all)
        map.put(shard(3))

        let plan = Placement.plan(filling: shard(3).id, in: map)

        #expect(plan.count == 256)
        #expect(plan.allSatisfy { $0.from == all[0].id })
    }

    @Test func `no map without a shard that takes buckets`() {
        var idle = shards(1)
        idle[0].weight = 0

        #expect(throws: ShardMapError.self) { try Placement.firstMap(shards: []) }
        #expect(throws: ShardMapError.self) { try Placement.firstMap(shards: idle) }
    }
}

/// How many buckets each shard holds that holds any.
private func bucketsHeld(_ map: ShardMap) -> [Int] {
    var held: [ShardID: Int] = [:]
    for entry in map.entries { held[entry.shard, default: 0] += 1 }
    return held.values.sorted()
}

func shard(_ number: Int) -> ShardRecord {
    ShardRecord(
        id: ShardID("s\(number)")!,
        members: [.init(host: "127.0.0.1", port: 15_200 + number)]
    )
}

func shards(_ count: Int) -> [ShardRecord] { (1...count).map(shard) }

/// splitmix64, so that a test draws the same numbers each time.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
