import Database
import Sharding
import Testing

struct RouteTableTests {
    private let bucket = BucketID.all[7]
    private let s1 = ShardID("s1")!
    private let s2 = ShardID("s2")!

    @Test func `a released bucket is looked for at the next owner, one epoch later`() {
        var routes = RouteTable(map: aMap())

        let next = routes.learn(refusal("state=released epoch=1 next=s2"), from: s1)

        #expect(next == .retry)
        #expect(routes[bucket].shard == s2)
        #expect(routes[bucket].epoch == Epoch(rawValue: 2))
        #expect(routes[BucketID.all[8]].shard == s1)
    }

    @Test func `a bucket that was given back is tried with its new epoch`() {
        var routes = RouteTable(map: aMap())

        let next = routes.learn(refusal("state=own epoch=3 next=s1"), from: s1)

        #expect(next == .retry)
        #expect(routes[bucket].epoch == Epoch(rawValue: 3))
    }

    @Test(arguments: [
        "state=fenced epoch=1 next=s2", "state=incoming epoch=2 next=-", "state=- epoch=- next=-",
        "state=released epoch=1 next=s9",
    ])
    func `a bucket between owners is waited for`(detail: String) {
        var routes = RouteTable(map: aMap())

        let next = routes.learn(refusal(detail), from: s1)

        #expect(next == .wait)
        #expect(routes[bucket] == aMap()[bucket])
    }

    @Test func `a slow refusal does not turn a route back`() {
        var routes = RouteTable(map: aMap())
        _ = routes.learn(refusal("state=own epoch=5 next=s2"), from: s2)

        let next = routes.learn(refusal("state=gone epoch=1 next=s1"), from: s1)

        #expect(next == .wait)
        #expect(routes[bucket].shard == s2)
    }

    @Test func `a newer map replaces hints that it knows, and keeps those that are newer still`() {
        var routes = RouteTable(map: aMap())
        _ = routes.learn(refusal("state=released epoch=1 next=s2"), from: s1)
        var stillOld = aMap(generation: 2)
        stillOld[BucketID.all[9]].shard = s2
        var published = aMap(generation: 3)
        published[bucket].shard = s2
        published[bucket].epoch = Epoch(rawValue: 2)
        published[bucket].closed = true

        let tookOld = routes.adopt(stillOld)
        #expect(tookOld)
        #expect(routes[bucket].shard == s2)
        #expect(routes[BucketID.all[9]].shard == s2)
        let tookPublished = routes.adopt(published)
        #expect(tookPublished)
        #expect(routes[bucket] == published[bucket])
        let tookOldAgain = routes.adopt(stillOld)
        #expect(!tookOldAgain)
        #expect(routes.map.generation == 3)
    }

    @Test func `a bucket on its way here is looked for at the owner that is named`() {
        var routes = RouteTable(map: aMap())

        let next = routes.learn(refusal("state=incoming epoch=3 next=s2"), from: s1)

        #expect(next == .retry)
        #expect(routes[bucket].shard == s2)
        #expect(routes[bucket].epoch == Epoch(rawValue: 2))
    }

    @Test func `a guessed epoch is corrected by the shard that it leads to, and by no other`() {
        var routes = RouteTable(map: aMap())
        _ = routes.learn(refusal("state=gone epoch=4 next=s2"), from: s1)
        #expect(routes[bucket].epoch == Epoch(rawValue: 5))

        let stale = routes.learn(refusal("state=own epoch=4 next=s1"), from: s1)
        let corrected = routes.learn(refusal("state=own epoch=4 next=s2"), from: s2)
        let late = routes.learn(refusal("state=own epoch=3 next=s2"), from: s2)

        #expect(stale == .wait)
        #expect(corrected == .retry)
        #expect(late == .wait)
        #expect(routes[bucket].shard == s2)
        #expect(routes[bucket].epoch == Epoch(rawValue: 4))
    }

    @Test func `the owner rows of a shard teach what it owns and what it gave away`() {
        var routes = RouteTable(map: aMap())
        let (given, kept, foreign) = (BucketID.all[1], BucketID.all[2], BucketID.all[3])

        routes.learn(
            OwnerTable(
                version: 9,
                owners: [
                    given: .init(state: .gone, epoch: .first, next: s2),
                    kept: .init(state: .fenced, epoch: Epoch(rawValue: 3), next: s2),
                ]
            ),
            from: s1
        )
        // What s2 never had it knows nothing of, although its rows name an owner.
        routes.learn(
            OwnerTable(
                version: 1,
                owners: [foreign: .init(state: .gone, epoch: Epoch(rawValue: 7), next: s1)]
            ),
            from: s2
        )

        #expect(routes[given].shard == s2)
        #expect(routes[given].epoch == Epoch(rawValue: 2))
        #expect(routes[kept].shard == s1)
        #expect(routes[kept].epoch == Epoch(rawValue: 3))
        #expect(routes[foreign] == aMap()[foreign])
    }

    @Test func `a shard that was told of is forgotten when no route leads there`() {
        var routes = RouteTable(map: aMap())
        let s3 = ShardRecord(id: ShardID("s3")!, members: [.init(host: "127.0.0.1", port: 3)])
        routes.learn(s3)
        _ = routes.learn(refusal("state=gone epoch=1 next=s3"), from: s1)
        #expect(routes[bucket].shard == s3.id)
        #expect(routes.shards.map(\.id.name) == ["s1", "s2", "s3"])

        var published = aMap(generation: 2)
        published[bucket].epoch = Epoch(rawValue: 5)
        routes.adopt(published)

        #expect(routes[bucket].shard == s1)
        #expect(routes.shards.map(\.id.name) == ["s1", "s2"])
    }

    @Test(arguments: ["", "bucket=", "bucket=1024 state=own", "next=s2", "bucket=x"])
    func `what is not a refusal is not read as one`(detail: String) {
        #expect(Refusal(detail: detail) == nil)
    }

    private func refusal(_ detail: String) -> Refusal {
        Refusal(detail: "bucket=\(bucket) \(detail)")!
    }

    /// Everything on s1.
    private func aMap(generation: Int64 = 1) -> ShardMap {
        let shards = [s1, s2].map {
            ShardRecord(id: $0, members: [.init(host: "127.0.0.1", port: 1)])
        }
        return try! ShardMap(
            generation: generation,
            entries: Array(repeating: .init(shard: s1), count: BucketID.count),
            shards: shards
        )
    }
}
