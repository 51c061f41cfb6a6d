import Coordination
import JSON
import Sharding
import Testing

struct BucketMoveTests {
    @Test
    func `a move goes from planned to cleaned, each step in the journal before what relies on it`()
    {
        var run = MoveRun(aMove())

        run.toEnd()

        let works = run.works.indices.filter { $0 == 0 || run.works[$0] != run.works[$0 - 1] }
        #expect(run.move.step == .cleaned)
        #expect(
            works.map { run.works[$0] } == [
                "observe", "precheck", "prepareTarget", "openStream", "copy", "attachStream",
                "measureLag", "verify", "prepareReverse", "measureLag", "fence", "awaitMarker",
                "compareTail", "advanceReverse", "release", "activate", "publish", "settleSource",
                "detachStream", "startReverse", "measureReverse", "stopReverse", "clean",
            ]
        )
        #expect(
            run.journalled == [
                .prechecked, .prepared, .copying, .catchingUp, .verifying, .fencing, .published,
                .reverseSync, .retired, .cleaned,
            ]
        )
    }

    @Test func `between fence and activation nothing waits for the journal`() {
        var run = MoveRun(aMove())

        run.run(until: "fence")
        let before = run.journalled.count
        run.run(until: "publish")

        #expect(run.journalled.count == before)
    }

    @Test func `without a reverse stream the old rows go at once`() {
        var policy = MovePolicy()
        policy.keepsReverse = false
        var run = MoveRun(aMove(policy: policy))

        run.toEnd()

        #expect(run.move.step == .cleaned)
        #expect(!run.works.contains { $0.lowercased().contains("reverse") })
    }

    /// Invariant 6: journal and databases are enough to go on.
    @Test(arguments: [
        "precheck", "prepareTarget", "openStream", "copy", "attachStream", "measureLag", "verify",
        "prepareReverse", "fence", "awaitMarker", "compareTail", "advanceReverse", "release",
        "activate", "publish", "settleSource", "detachStream", "startReverse", "measureReverse",
        "stopReverse", "clean",
    ])
    func `a successor finishes what was left at any work`(work: String) throws {
        var run = MoveRun(aMove())
        run.run(until: work)

        var successor = MoveRun(try reread(run.journal, run.move.policy), databases: run.databases)
        successor.toEnd()

        #expect(successor.move.step == .cleaned)
        #expect(successor.databases.owner == "s2")
    }

    @Test(arguments: [
        "precheck", "prepareTarget", "openStream", "copy", "attachStream", "measureLag", "verify",
        "prepareReverse", "fence", "awaitMarker", "compareTail", "advanceReverse",
    ])
    func `an abort before the release undoes the move`(work: String) {
        var run = MoveRun(aMove())
        run.run(until: work)

        run.take(.abortAsked(reason: "asked"))
        run.toEnd()

        #expect(run.move.step == .undone)
        #expect(run.move.undoing == "asked")
        #expect(run.databases.owner == "s1")
    }

    @Test func `an abort after the release changes nothing`() {
        var run = MoveRun(aMove())
        run.run(until: "activate")

        #expect(run.take(.abortAsked(reason: "asked")).isEmpty)
        run.toEnd()

        #expect(run.move.step == .cleaned)
    }

    /// Invariant 5: a pause that lasts is given up, and the epoch that the next attempt finds is higher.
    @Test func `a pause that takes too long is given up and tried again`() {
        var run = MoveRun(aMove())
        run.run(until: "awaitMarker")

        run.take(.waited(turn: run.pauseTurn))

        #expect(run.works.last == "giveUp")
        run.run(until: "fence")
        #expect(run.move.attempt == 2)
        #expect(run.move.epochs == [Epoch(rawValue: 3)])
        run.toEnd()
        #expect(run.move.step == .cleaned)
        #expect(run.move.epochs == [Epoch(rawValue: 3)])
    }

    @Test func `attempts are bounded`() {
        var policy = MovePolicy()
        policy.attemptLimit = 3
        var run = MoveRun(aMove(policy: policy))
        run.failing = ["fence": MoveFailure(kind: .transient, message: "lock not available")]

        run.toEnd()

        #expect(run.move.step == .undone)
        #expect(run.works.count { $0 == "fence" } == 3)
        #expect(run.works.count { $0 == "giveUp" } == 3)
        #expect(run.move.undoing?.contains("lock not available") == true)
    }

    @Test func `waits grow up to their bound`() {
        var run = MoveRun(aMove())
        run.failing = ["publish": MoveFailure(kind: .transient, message: "no etcd")]
        run.run(until: "publish")

        for _ in 0..<30 { run.step() }

        let waits = run.waits.suffix(5)
        #expect(waits.allSatisfy { $0 <= run.move.policy.longestWait })
        #expect(run.waits.last == run.move.policy.longestWait)
        #expect(run.move.trouble == "no etcd")
    }

    @Test func `a refused precheck ends the move before anything was changed`() {
        var run = MoveRun(aMove())
        run.failing = ["precheck": MoveFailure(kind: .refused, message: "wal_level is replica")]

        run.toEnd()

        #expect(run.move.step == .undone)
        #expect(run.works == ["observe", "precheck"])
        #expect(run.move.undoing == "wal_level is replica")
    }

    @Test(arguments: ["attachStream", "measureLag", "verify", "awaitMarker"])
    func `a stream that is lost is made again, by a run of its own`(work: String) {
        var run = MoveRun(aMove())
        run.failing = [work: MoveFailure(kind: .lost, message: "the slot is gone")]
        run.failures = 1

        run.toEnd()

        #expect(run.move.step == .cleaned)
        #expect(run.move.copies == 2)
    }

    /// Invariant 11.
    @Test func `a copy that differs is made again and the fence waits for one that does not`() {
        var run = MoveRun(aMove())
        run.run(until: "verify")

        run.take(.done(turn: run.turn, .compared(source: "1", target: "2")))

        #expect(run.works.last == "openStream")
        run.toEnd()
        #expect(run.move.step == .cleaned)
        #expect(run.move.digest == "same")
    }

    @Test func `an answer to an earlier turn changes nothing`() {
        var run = MoveRun(aMove())
        run.run(until: "copy")
        let before = run.move

        #expect(run.take(.done(turn: run.turn - 1, .nothing)).isEmpty)
        #expect(run.take(.failed(turn: 0, MoveFailure(kind: .lost, message: ""))).isEmpty)
        #expect(run.take(.waited(turn: run.turn)).isEmpty)

        #expect(run.move == before)
    }

    @Test func `a release whose answer was lost is asked for again, not given up`() {
        var run = MoveRun(aMove())
        run.run(until: "release")

        run.take(.failed(turn: run.turn, MoveFailure(kind: .transient, message: "no answer")))
        run.toEnd()

        #expect(run.works.contains("release"))
        #expect(!run.works.contains("giveUp"))
        #expect(run.move.step == .cleaned)
    }

    @Test func `giving up what turns out to be released goes forward`() {
        var run = MoveRun(aMove())
        run.run(until: "release")
        run.databases.state = .released

        run.take(.waited(turn: run.pauseTurn))
        run.toEnd()

        #expect(run.move.step == .cleaned)
        #expect(run.databases.owner == "s2")
    }

    @Test func `a rollback is a move the other way through the reverse stream`() throws {
        var run = MoveRun(aMove())
        run.run(until: "measureReverse")
        #expect(run.move.canRollBack)

        let effects = run.take(.rollbackAsked(as: try #require(MoveID(number: 2))))

        let started = effects.compactMap { if case .start(let spec) = $0 { spec } else { nil } }
        let back = try #require(started.first)
        #expect(back.kind == .rollback(of: run.move.spec.id))
        #expect((back.source, back.target) == (run.move.spec.target, run.move.spec.source))

        var second = MoveRun(BucketMove(spec: back), databases: run.databases.turned())
        second.toEnd()
        #expect(second.move.step == .cleaned)
        #expect(!second.works.contains("openStream") && !second.works.contains("copy"))

        _ = run.take(.rollbackEnded(.cleaned))
        #expect(run.move.step == .undone)
    }

    @Test func `a rollback that was undone leaves the move to its retention`() throws {
        var run = MoveRun(aMove())
        run.run(until: "measureReverse")
        _ = run.take(.rollbackAsked(as: try #require(MoveID(number: 2))))

        _ = run.take(.rollbackEnded(.undone))
        run.toEnd()

        #expect(run.move.step == .cleaned)
    }

    @Test func `the retention goes on where a predecessor left it`() throws {
        var policy = MovePolicy()
        policy.retention = .seconds(180)
        var run = MoveRun(aMove(policy: policy))
        run.run(until: "measureReverse")
        run.step()
        run.step()
        let retained = run.move.retained

        let successor = try reread(run.journal, policy)

        #expect(retained > .zero)
        #expect(successor.retained == retained)
    }

    @Test func `the journal's entry reads back as it was, at every step`() throws {
        var run = MoveRun(aMove())

        while !run.move.step.isFinal {
            run.step()
            let back = try reread(run.move.jsonBytes, run.move.policy)
            try #require(back.step == run.move.step)
            try #require(back.epochs == run.move.epochs)
            try #require(back.jsonBytes == run.move.jsonBytes)
        }
    }

    @Test func `an entry of a newer version is refused`() throws {
        let text = String(decoding: aMove().jsonBytes, as: UTF8.self)
            .replacing("\"version\":1", with: "\"version\":2")

        #expect(throws: CodecError.self) {
            try BucketMove(journal: JSONReader.parse(text))
        }
    }
}

func aMove(policy: MovePolicy = MovePolicy()) -> BucketMove {
    BucketMove(
        spec: MoveSpec(
            id: MoveID(number: 1)!,
            source: ShardID("s1")!,
            target: ShardID("s2")!,
            buckets: [BucketID(rawValue: 5)!]
        )!,
        policy: policy
    )
}

func reread(_ entry: [UInt8], _ policy: MovePolicy) throws -> BucketMove {
    try BucketMove(journal: JSONReader.parse(entry), policy: policy)
}
