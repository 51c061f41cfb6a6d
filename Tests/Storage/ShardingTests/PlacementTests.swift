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
