import Sharding
import Testing

struct ShardMapTests {
    @Test func `a map reads back as it was written`() throws {
        var map = try Placement.firstMap(shards: shards(5))
        map.generation = 12
        #expect(try ShardMap(text: map.text) == map)
        map.cluster = ClusterID(String(repeating: "7", count: 32))
        map[BucketID.all[3]].closed = true
        map[BucketID.all[4]].epoch = Epoch(rawValue: 9)
        map.put(
            ShardRecord(
                id: ShardID("s2")!,
                members: [
                    .init(host: "db.example", port: 5_432),
                    .init(host: "::1", port: 5_433, role: .standby, region: Region("north")!),
                ],
                database: "other",
                weight: 4
            )
        )

        #expect(try ShardMap(text: map.text) == map)
    }

    @Test func `every truncation and every altered byte is refused`() throws {
        let text = Array(try Placement.firstMap(shards: shards(2)).text.utf8)

        for length in stride(from: 0, to: text.count, by: 97) {
            let torn = String(decoding: text[..<length], as: UTF8.self)
            #expect(throws: ShardMapError.self) { try ShardMap(text: torn) }
        }
        for place in stride(from: 0, to: text.count, by: 61) {
            var altered = text
            altered[place] ^= 1
            let wrong = String(decoding: altered, as: UTF8.self)
            #expect(throws: ShardMapError.self) { try ShardMap(text: wrong) }
        }
    }

    @Test func `a closed bucket takes no new user`() throws {
        var map = try Placement.firstMap(shards: shards(1))
        for bucket in BucketID.all.dropFirst() { map[bucket].closed = true }

        #expect(map.openBuckets(in: .local).bucket(forNewUser: [1, 2, 3]) == BucketID.all[0])
        #expect(map.openBuckets(in: Region("north")!).bucket(forNewUser: [1, 2, 3]) == nil)
    }

    @Test func `a name's bucket never changes`() {
        #expect(BucketID.of(name: "alice") == BucketID(rawValue: 560))
        #expect(BucketID.of(name: "") == BucketID(rawValue: 938))
    }
}

struct SipHashTests {
    @Test func `the vectors of its authors hold`() {
        let hash = SipHash(k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908)

        #expect(hash.hash([]) == 0x726f_db47_dd0e_0e31)
        #expect(hash.hash(0...0) == 0x74f8_39c5_93dc_67fd)
        #expect(hash.hash(0..<15) == 0xa129_ca61_49be_45e5)
        #expect(hash.hash(0..<63) == 0x958a_324c_eb06_4572)
    }
}
