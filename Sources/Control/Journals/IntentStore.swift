package import Coordination
package import Etcd
internal import JSON

/// What operators ask for, and the plan they have agreed to: changed by compare-and-set, by anybody with the right.
package struct IntentStore: Sendable {
    private static let tries = 10

    private let etcd: EtcdClient

    package init(etcd: EtcdClient) {
        self.etcd = etcd
    }

    /// A value with the revision of its key; revision 0 where there is none yet.
    package struct Stored<Value: Sendable>: Sendable {
        package let value: Value
        package let revision: Int64

        var expectation: EtcdExpectation { revision == 0 ? .absent : .revision(revision) }
    }

    package func intent() async throws -> Stored<ClusterIntent> {
        guard let entry = try await etcd.get(CoordinatorKeys.intent) else {
            return Stored(value: ClusterIntent(), revision: 0)
        }
        do {
            let json = try JSONReader.parse(entry.value)
            return Stored(value: try ClusterIntent(json: json), revision: entry.revision)
        } catch {
            throw JournalTrouble("\(entry.key): \(error)")
        }
    }

    package func plan() async throws -> Stored<PlanRecord?> {
        guard let entry = try await etcd.get(CoordinatorKeys.plan) else {
            return Stored(value: nil, revision: 0)
        }
        do {
            let json = try JSONReader.parse(entry.value)
            return Stored(value: try PlanRecord(json: json), revision: entry.revision)
        } catch {
            throw JournalTrouble("\(entry.key): \(error)")
        }
    }

    /// Changes the intent, again from the start where somebody else was faster; gives what is stored then.
    @discardableResult
    package func change(
        _ change: (inout ClusterIntent) throws -> Void
    ) async throws -> ClusterIntent {
        for _ in 1...Self.tries {
            let stored = try await intent()
            var intent = stored.value
            try change(&intent)
            if intent == stored.value { return intent }
            let revision = try await etcd.put(
                CoordinatorKeys.intent,
                intent.jsonBytes,
                expecting: stored.expectation
            )
            if revision != nil { return intent }
        }
        throw JournalTrouble("the intent changes too fast; run this again")
    }

    /// Stores a plan and the agreement to it in one go; false when anything changed since it was read.
    package func approve(
        _ plan: PlanRecord,
        replacing old: Stored<PlanRecord?>,
        intent: Stored<ClusterIntent>,
        numbers: Stored<Int64>
    ) async throws -> Bool {
        var approved = intent.value
        approved.approved = plan.fingerprint
        let next = plan.moves.map(\.spec.id.number).max().map { $0 + 1 } ?? numbers.value
        let transaction = EtcdTransaction(
            expecting: [
                (CoordinatorKeys.plan, old.expectation),
                (CoordinatorKeys.intent, intent.expectation),
                (CoordinatorKeys.numbers, numbers.expectation),
            ],
            [
                .put(CoordinatorKeys.plan, plan.jsonBytes),
                .put(CoordinatorKeys.intent, approved.jsonBytes),
                .put(CoordinatorKeys.numbers, Array(String(next).utf8)),
            ]
        )
        return try await etcd.commit(transaction) != nil
    }

    // MARK: Numbers

    /// The number that the next move will have.
    package func numbers() async throws -> Stored<Int64> {
        guard let entry = try await etcd.get(CoordinatorKeys.numbers) else {
            return Stored(value: 1, revision: 0)
        }
        guard let number = entry.text.flatMap({ Int64($0) }), number > 0 else {
            throw JournalTrouble("\(entry.key) is not a number")
        }
        return Stored(value: number, revision: entry.revision)
    }

    /// Takes one number, which nobody else gets.
    package func draw() async throws -> MoveID {
        for _ in 1...Self.tries {
            let stored = try await numbers()
            let revision = try await etcd.put(
                CoordinatorKeys.numbers,
                Array(String(stored.value + 1).utf8),
                expecting: stored.expectation
            )
            if revision != nil, let id = MoveID(number: stored.value) { return id }
        }
        throw JournalTrouble("no number could be drawn; try again")
    }

    /// Makes the next number at least that high: for a journal that was lost.
    package func raise(to number: Int64) async throws {
        for _ in 1...Self.tries {
            let stored = try await numbers()
            guard stored.value < number else { return }
            let revision = try await etcd.put(
                CoordinatorKeys.numbers,
                Array(String(number).utf8),
                expecting: stored.expectation
            )
            if revision != nil { return }
        }
    }
}
