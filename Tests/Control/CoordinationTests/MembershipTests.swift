import Coordination
import JSON
import Sharding
import Testing

struct MembershipTests {
    private let id = ShardID("s5")!

    @Test func `a shard is prepared, listed, active, drained, taken out`() {
        var shard = Membership(shard: id)

        #expect(shard.handle(.begin) == [.prepare])
        #expect(shard.handle(.prepared) == [.list])
        #expect(shard.handle(.listed) == [.planAgain])
        #expect(shard.state == .active)
        #expect(shard.handle(.removeAsked) == [.planAgain])
        #expect(shard.handle(.counted(buckets: 3, unfinishedMoves: 0)).isEmpty)
        #expect(shard.handle(.counted(buckets: 0, unfinishedMoves: 1)).isEmpty)
        #expect(shard.handle(.counted(buckets: 0, unfinishedMoves: 0)) == [.unlist])
        #expect(shard.handle(.unlisted) == [.finished])
        #expect(shard.state == .gone)
    }

    @Test func `a shard that is only drained stays listed, and may be kept`() {
        var shard = Membership(shard: id, state: .active)

        _ = shard.handle(.drainAsked)

        #expect(shard.handle(.counted(buckets: 0, unfinishedMoves: 0)).isEmpty)
        #expect(shard.handle(.keepAsked) == [.planAgain])
        #expect(shard.state == .active)
    }

    @Test func `a shard that is refused never joins, one that does not answer is tried again`() {
        var refused = Membership(shard: id)
        var silent = Membership(shard: id)
        let no = MoveFailure(kind: .refused, message: "it is another cluster's")
        let nothing = MoveFailure(kind: .transient, message: "no answer")

        #expect(refused.handle(.failed(no)) == [.refuse("it is another cluster's"), .finished])
        for _ in 1..<Membership.tryLimit {
            #expect(silent.handle(.failed(nothing)) == [.wait(Membership.retryAfter)])
        }
        #expect(silent.handle(.failed(nothing)).first == .refuse("no answer"))
    }

    @Test func `intents read back as they were, and newer ones are refused`() throws {
        var intent = ClusterIntent()
        intent.paused = true
        intent.drains = [id]
        intent.removals = [id]
        intent.pins = [BucketID.all[7]: id]
        intent.isolated = [BucketID.all[9]: id]
        intent.aborts = [MoveID(number: 4)!]
        intent.rollbacks = [MoveID(number: 2)!]
        intent.approved = "00ff"
        let text = String(decoding: intent.jsonBytes, as: UTF8.self)

        #expect(try ClusterIntent(json: JSONReader.parse(text)) == intent)
        let newer = text.replacing("\"version\":1", with: "\"version\":2")
        #expect(throws: CodecError.self) { try ClusterIntent(json: JSONReader.parse(newer)) }
    }
}

struct StrandedMoveTests {
    private let attempt = FenceAttempt(move: MoveID(number: 3)!, number: 2)

    private func row(_ state: OwnerRow.State) -> OwnerRow {
        OwnerRow(
            state: state,
            epoch: Epoch(rawValue: 4),
            attempt: attempt.description,
            next: ShardID("s2")
        )
    }

    @Test func `a fence that stands too long is given up, a release is finished at once`() {
        let epochs = [Epoch(rawValue: 4)]

        let fenced = StrandedMove.action(for: [row(.fenced)], seenFor: StrandedMove.patience)
        let released = StrandedMove.action(for: [row(.released)], seenFor: .zero)

        #expect(fenced == .giveUp(attempt, epochs))
        #expect(released == .activate(attempt, epochs, target: ShardID("s2")!))
    }

    @Test func `a pause that may still end, and rows that are no pause, are left alone`() {
        #expect(StrandedMove.action(for: [row(.fenced)], seenFor: .seconds(2)) == .wait)
        for state in [OwnerRow.State.own, .incoming, .gone] {
            #expect(StrandedMove.action(for: [row(state)], seenFor: .seconds(60)) == .wait)
        }
        #expect(StrandedMove.action(for: [], seenFor: .seconds(60)) == .wait)
    }

    @Test func `the map takes only what is newer`() throws {
        let map = try Placement.firstMap(shards: shards(2))
        let bucket = try #require(map.buckets(of: shard(1).id).first)
        let second = Epoch(rawValue: 2)

        let moved = try #require(map.publishing([bucket], owner: shard(2).id, epochs: [second]))

        #expect(moved[bucket].shard == shard(2).id)
        #expect(moved.generation == map.generation + 1)
        #expect(moved.publishing([bucket], owner: shard(1).id, epochs: [second]) == nil)
        #expect(moved.publishing([bucket], owner: shard(1).id, epochs: [.first]) == nil)
    }
}
