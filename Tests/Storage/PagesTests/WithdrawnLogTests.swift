import Pages
import Sharding
import Testing

@Suite struct `The log of withdrawals` {
    private let s1 = ShardID("s1")!
    private let s2 = ShardID("s2")!

    /// A log that has heard of both shards at `now`, up to transaction 100 on each.
    private func log(at now: UInt64 = 1_000) -> WithdrawnLog {
        var log = WithdrawnLog()
        log.know([s1, s2])
        log.heard(s1, WithdrawnRows(position: 100, rows: []), askedAt: now)
        log.heard(s2, WithdrawnRows(position: 100, rows: []), askedAt: now)
        return log
    }

    private func page(
        in log: WithdrawnLog,
        viewer: Int64? = 1,
        merged: [Int64] = []
    ) throws -> PageFacts {
        PageFacts(
            viewer: viewer,
            posts: [.init(post: 10, author: 2), .init(post: 11, author: 3)],
            merged: merged,
            position: try #require(log.mark())
        )
    }

    private func rows(_ rows: (Int64, Withdrawal)..., position: Int64 = 200) -> WithdrawnRows {
        WithdrawnRows(
            position: position,
            rows: rows.map { LoggedWithdrawal(transaction: $0.0, $0.1) }
        )
    }

    @Test func `what names nothing on a page leaves it alone`() throws {
        var log = log()
        let page = try page(in: log)
        log.heard(
            s1,
            rows(
                (100, .post(12)),
                (101, .author(4)),
                (102, .block(5, 2)),
                (103, .changed(post: 9))
            ),
            askedAt: 2_000
        )
        log.heard(s2, rows(), askedAt: 2_000)

        #expect(log.refusal(of: page, at: 2_100) == nil)
    }

    @Test(arguments: [
        Withdrawal.post(11), .author(2), .apart(viewer: 1, author: 3), .block(1, 2), .block(3, 1),
        .unblock(1, 2),
    ])
    func `a page that shows what was withdrawn is dropped, whenever it was rendered`(
        withdrawal: Withdrawal
    ) throws {
        var log = log()
        let before = try page(in: log)
        log.heard(s1, rows((150, withdrawal)), askedAt: 2_000)
        log.heard(s2, rows(), askedAt: 2_000)
        let after = try page(in: log)

        #expect(log.refusal(of: before, at: 2_100) == .withdrawn)
        #expect(log.refusal(of: after, at: 2_100) == .withdrawn)
    }

    @Test func `what has changed drops only pages from before`() throws {
        var log = log()
        let before = try page(in: log, merged: [8])
        log.heard(s1, rows((150, .changed(post: 10))), askedAt: 2_000)
        log.heard(s2, rows((150, .published(author: 8))), askedAt: 2_000)
        let after = try page(in: log, merged: [8])

        #expect(log.refusal(of: before, at: 2_100) == .changed)
        #expect(log.refusal(of: after, at: 2_100) == nil)
    }

    @Test func `an author who published drops only pages into which they were merged`() throws {
        var log = log()
        let without = try page(in: log, merged: [7])
        let with = try page(in: log, merged: [7, 8])
        log.heard(s1, rows((150, .published(author: 8))), askedAt: 2_000)
        log.heard(s2, rows(), askedAt: 2_000)

        #expect(log.refusal(of: without, at: 2_100) == nil)
        #expect(log.refusal(of: with, at: 2_100) == .changed)
    }

    private func user(_ bucket: Int64) -> Int64 { 1 << 16 | bucket << 6 }

    private func owned(_ buckets: Int..., epoch: Int64 = 1, version: Int64) -> OwnedBuckets {
        OwnedBuckets(
            version: version,
            epochs: Dictionary(
                uniqueKeysWithValues: buckets.map {
                    (BucketID(rawValue: $0)!, Epoch(rawValue: epoch))
                }
            )
        )
    }

    /// A page of people in buckets, the first of whom looks at it and the last of whom is merged into it.
    private func shown(to buckets: Int64..., in log: WithdrawnLog) throws -> PageFacts {
        PageFacts(
            viewer: user(buckets[0]),
            posts: buckets.dropFirst().dropLast().map { .init(post: $0, author: user($0)) },
            merged: [user(buckets.last!)],
            position: try #require(log.mark())
        )
    }

    @Test func `while one shard is silent, pages of people on the others are served`() throws {
        var log = log()
        log.owns(s1, owned(1, 2, 3, version: 1), by: 1_000)
        log.owns(s2, owned(4, version: 1), by: 1_000)
        let others = try shown(to: 1, 2, 3, in: log)
        let pages = [
            try shown(to: 4, 2, 3, in: log), try shown(to: 1, 4, 3, in: log),
            try shown(to: 1, 2, 4, in: log), try shown(to: 1, 2, 5, in: log),
        ]
        for second in 2...10 as ClosedRange<UInt64> {
            log.heard(s1, rows(), askedAt: second * 1_000)
        }

        for page in pages + [others] { #expect(log.refusal(of: page, at: 4_000) == nil) }
        for page in pages { #expect(log.refusal(of: page, at: 4_001) == .deaf) }
        #expect(log.refusal(of: others, at: 4_001) == nil)
        #expect(try log.refusal(of: shown(to: 1, 2, 3, in: log), at: 12_000) == nil)
        #expect(log.age(at: 10_000) == 9_000)
        #expect(log.refusal(of: others, at: 13_001) == .deaf)
    }

    @Test func `what one shard has taken over from a silent one is not served`() throws {
        var log = log()
        log.owns(s1, owned(1, 2, version: 1), by: 1_000)
        log.owns(s2, owned(4, version: 1), by: 1_000)
        let page = try shown(to: 1, 4, 2, in: log)
        log.heard(s1, rows(), askedAt: 5_000)
        log.owns(s1, owned(1, 2, 4, epoch: 2, version: 2), by: 5_001)
        let silent = log.refusal(of: page, at: 5_100)
        log.heard(s2, rows((150, .post(4))), askedAt: 6_000)
        log.owns(s2, owned(version: 2), by: 6_001)

        #expect(silent == .deaf)
        #expect(log.refusal(of: page, at: 6_100) == .withdrawn)
    }

    @Test func `what came back to a shard with another epoch has been elsewhere`() throws {
        var log = log()
        log.owns(s1, owned(1, 2, version: 1), by: 1_000)
        let page = try shown(to: 1, 2, 2, in: log)
        log.heard(s1, rows(), askedAt: 9_000)
        log.owns(s1, owned(1, 2, version: 2), by: 9_001)
        let same = log.refusal(of: page, at: 9_100)
        log.owns(s1, owned(1, 2, epoch: 3, version: 3), by: 9_101)

        #expect(same == nil)
        #expect(log.refusal(of: page, at: 9_200) == .deaf)
    }

    @Test func `a node that has just begun serves nothing from before`() throws {
        let old = log()
        let page = try page(in: old)
        var new = WithdrawnLog()
        new.know([s1, s2])
        #expect(new.refusal(of: page, at: 1_000) == .deaf)
        new.heard(s1, WithdrawnRows(position: 101, rows: []), askedAt: 1_000)
        new.heard(s2, WithdrawnRows(position: 100, rows: []), askedAt: 1_000)

        #expect(new.refusal(of: page, at: 1_100) == .old)
    }

    @Test func `what was forgotten takes the right to serve older pages with it`() throws {
        var log = log()
        let before = try page(in: log)
        log.heard(s1, rows((150, .post(12))), askedAt: 2_000)
        let later: UInt64 = 2_000 + 90_001
        log.heard(s1, rows(position: 300), askedAt: later)
        log.heard(s2, rows(), askedAt: later)
        #expect(log.refusal(of: before, at: later) == nil)
        log.forget(at: later)

        #expect(log.refusal(of: before, at: later) == .old)
        #expect(!log.isGone(12, by: 0))
    }

    @Test func `pages of nodes that know other shards are not served`() throws {
        var log = log()
        let page = try page(in: log)
        let s3 = try #require(ShardID("s3"))
        log.know([s1, s2, s3])
        #expect(log.refusal(of: page, at: 1_000) == .deaf)
        log.heard(s3, WithdrawnRows(position: 5, rows: []), askedAt: 1_000)

        #expect(log.refusal(of: page, at: 1_000) == .shards)
    }

    @Test func `more rows than one look takes end the serving of older pages`() throws {
        var log = log()
        let page = try page(in: log)
        log.heard(s1, WithdrawnRows(position: 200, rows: [], isWhole: false), askedAt: 2_000)

        #expect(log.refusal(of: page, at: 2_000) == .old)
    }

    @Test func `an answer that another has overtaken says nothing`() throws {
        var log = log()
        log.heard(s1, rows(position: 300), askedAt: 3_000)
        log.heard(s1, rows((150, .post(10)), position: 200), askedAt: 2_000)

        #expect(log.position(on: s1) == 300)
    }

    @Test func `a block parts two users at once, and an unblock brings them together`() {
        var log = log()
        log.heard(s1, rows((150, .block(1, 2))), askedAt: 2_000)
        let blocked = (log.areBlocked(1, 2), log.areBlocked(2, 1), log.areBlocked(1, 3))
        log.heard(s1, rows((150, .block(1, 2)), (160, .unblock(1, 2))), askedAt: 3_000)

        #expect(blocked == (true, true, false))
        #expect(!log.areBlocked(1, 2) && !log.areBlocked(2, 1))
    }
}
