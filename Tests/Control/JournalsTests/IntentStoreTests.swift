import Coordination
import Etcd
import EventLoops
import JSON
import Journals
import Sharding
import TestSupport
import Testing

/// Against a real etcd, whose keys are the coordinator's own: one test after the other.
@Suite(.serialized)
struct IntentStoreTests {
    @Test func `two plans at the same time: one is agreed to, the other is refused`() async throws {
        let server = try await EtcdServer.start()

        let (results, plan) = try await withLoop { loop in
            let etcd = EtcdClient(loop: loop, settings: EtcdSettings(endpoints: [server.endpoint]))
            defer { etcd.close() }
            let store = IntentStore(etcd: etcd)
            let (old, intent) = (try await store.plan(), try await store.intent())
            let numbers = try await store.numbers()
            var results: [Bool] = []
            for target in ["s2", "s3"] {
                let plan = PlanRecord(Self.plan(to: target), from: numbers.value, createdAt: 1)
                results.append(
                    try await store.approve(plan, replacing: old, intent: intent, numbers: numbers)
                )
            }
            return (results, try await store.plan().value)
        }

        #expect(results == [true, false])
        #expect(plan?.moves.first?.spec.target.name == "s2")
        await server.process.stop()
    }

    @Test func `a number is given to one move only`() async throws {
        let server = try await EtcdServer.start()

        let drawn = try await withLoop { loop in
            let etcd = EtcdClient(loop: loop, settings: EtcdSettings(endpoints: [server.endpoint]))
            defer { etcd.close() }
            let store = IntentStore(etcd: etcd)
            return try await withThrowingTaskGroup(of: MoveID.self) { group in
                for _ in 1...5 { group.addTask { try await store.draw() } }
                return try await group.reduce(into: [MoveID]()) { $0.append($1) }
            }
        }

        #expect(Set(drawn).count == 5)
        await server.process.stop()
    }

    @Test func `a deposed leader writes nothing`() async throws {
        let server = try await EtcdServer.start()

        let (first, isRefused, moves) = try await withLoop { loop in
            let etcd = EtcdClient(loop: loop, settings: EtcdSettings(endpoints: [server.endpoint]))
            defer { etcd.close() }
            let store = MoveStore(etcd: etcd)
            let lease = try await etcd.grantLease(seconds: 60)
            let revision = try await etcd.put(CoordinatorKeys.leader, [1])
            let term = LeaderTerm(revision: revision, lease: lease)
            let move = BucketMove(spec: Self.spec)
            try await store.write(move.spec.id, move.jsonBytes, in: term)
            let first = try await store.load(policy: MovePolicy())

            try await etcd.put(CoordinatorKeys.leader, [2])
            let writer = JournalWriter(loop: loop, store: store, term: term, id: move.spec.id)
            var isRefused = false
            do {
                try await writer.write(move)
            } catch is NotLeading {
                isRefused = true
            }
            return (first, isRefused, try await store.load(policy: MovePolicy()))
        }

        #expect(first.map(\.spec) == [Self.spec])
        #expect(isRefused)
        #expect(moves == first)
        await server.process.stop()
    }

    private static let spec = MoveSpec(
        id: MoveID(number: 1)!,
        source: ShardID("s1")!,
        target: ShardID("s2")!,
        buckets: [BucketID.all[3]]
    )!

    private static func plan(to target: String) -> Plan {
        Plan(
            steps: [
                Plan.Step(
                    source: ShardID("s1")!,
                    target: ShardID(target)!,
                    buckets: [BucketID.all[3]],
                    bytes: 10,
                    reason: .balance
                )
            ],
            imbalanceBefore: 2,
            imbalanceAfter: 1
        )
    }
}
