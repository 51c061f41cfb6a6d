internal import EventLoops
package import Postgres
package import Sharding

/// Small writes of one loop that share transactions: what gathers while one is under way goes together in the next.
///
/// A shard commits one group of a loop at a time, so that a thousand writes a second cost a hundred commits, and leave
/// the other connections to others. Each write is answered by itself: where the shard refuses a bucket, its
/// writes go on beside the rest and wait for the owner as any write does; where it refuses a row, the group is sent
/// again in halves until what is wrong stands alone. Two writes with one key never share a transaction, and go in
/// their order.
package final class GroupedWrites<Item: Routed, Key: Hashable & Sendable, Answer: Sendable>:
    @unchecked Sendable
{
    // @unchecked: touched on its loop only.

    /// Writes of one transaction.
    package static var groupLimit: Int { 128 }

    /// Writes that may wait for one shard; further ones are refused as overloaded.
    package static var queueLimit: Int { 8_192 }

    /// Writes looked at for one group, of which some wait for another with their key.
    private static var scanLimit: Int { 4 * groupLimit }

    private typealias Outcome = Result<Answer, DatabaseError>

    private struct Waiting {
        let item: Item
        let finish: (Outcome) -> Void
    }

    private final class Line {
        var queue = Ring<Waiting>()
        /// From before the queue: each waits for a group without its key.
        var held: [Waiting] = []
        var isPlanned = false
        var isBusy = false

        var count: Int { held.count + queue.count }
    }

    private let database: Database
    private let key: (Item) -> Key
    private let statements: ([Item]) -> [SQL]
    private let answers: ([Item], [Rows]) throws(DatabaseError) -> [Answer]
    private var lines: [ShardID: Line] = [:]

    /// Transactions that have been sent.
    package private(set) var transactions = 0

    /// The statements of a group, behind the fence, and what their rows say to each of its items, in order.
    package init(
        database: Database,
        key: @escaping (Item) -> Key,
        statements: @escaping ([Item]) -> [SQL],
        answers: @escaping ([Item], [Rows]) throws(DatabaseError) -> [Answer]
    ) {
        self.database = database
        self.key = key
        self.statements = statements
        self.answers = answers
    }

    package func write(_ item: Item) async throws(DatabaseError) -> Answer {
        let outcome: Outcome = await withUnsafeContinuation { done in
            take(item) { done.resume(returning: $0) }
        }
        return try outcome.get()
    }

    /// Writes several, of any shards; throws the first failure when all have ended.
    package func write(_ items: [Item]) async throws(DatabaseError) -> [Answer] {
        guard !items.isEmpty else { return [] }
        let outcomes: [Outcome] = await withUnsafeContinuation { done in
            let gathering = Gathering(count: items.count) { done.resume(returning: $0) }
            for (index, item) in items.enumerated() {
                take(item) { gathering.receive($0, at: index) }
            }
        }
        var all: [Answer] = []
        all.reserveCapacity(items.count)
        for outcome in outcomes { all.append(try outcome.get()) }
        return all
    }

    private final class Gathering {
        private var outcomes: [Outcome?]
        private var missing: Int
        private let done: ([Outcome]) -> Void

        init(count: Int, done: @escaping ([Outcome]) -> Void) {
            outcomes = Array(repeating: nil, count: count)
            missing = count
            self.done = done
        }

        func receive(_ outcome: Outcome, at index: Int) {
            outcomes[index] = outcome
            missing -= 1
            if missing == 0 { done(outcomes.compactMap { $0 }) }
        }
    }

    // MARK: Gathering

    private func take(_ item: Item, _ finish: @escaping (Outcome) -> Void) {
        database.loop.assertOnLoop()
        let shard = database.shard(of: item.bucket)
        let line = lines[shard] ?? Line()
        lines[shard] = line
        guard line.count < Self.queueLimit else { return finish(.failure(.overloaded)) }
        line.queue.append(Waiting(item: item, finish: finish))
        guard !line.isPlanned, !line.isBusy else { return }
        line.isPlanned = true
        database.loop.atEndOfTurn { [self] in
            line.isPlanned = false
            send(line)
        }
    }

    private func send(_ line: Line) {
        guard !line.isBusy, line.count > 0 else { return }
        line.isBusy = true
        let group = Group(nextGroup(of: line)) { [self] in
            line.isBusy = false
            send(line)
        }
        database.loop.spawn { [self] in
            await perform(group.members, holds: false)
            group.done()
        }
    }

    /// What a task of the loop carries.
    private final class Group: @unchecked Sendable {
        // @unchecked: made and used on the loop, as all that it refers to.
        let members: [Waiting]
        let done: () -> Void

        init(_ members: [Waiting], done: @escaping () -> Void = {}) {
            self.members = members
            self.done = done
        }
    }

    private func nextGroup(of line: Line) -> [Waiting] {
        var group: [Waiting] = []
        var keys: Set<Key> = []
        var later: [Waiting] = []
        var looked = 0
        func add(_ waiting: Waiting) {
            looked += 1
            if keys.insert(key(waiting.item)).inserted {
                group.append(waiting)
            } else {
                later.append(waiting)
            }
        }
        var old = line.held[...]
        while group.count < Self.groupLimit, looked < Self.scanLimit, let next = old.popFirst() {
            add(next)
        }
        if old.isEmpty {
            while group.count < Self.groupLimit, looked < Self.scanLimit,
                let next = line.queue.popFirst()
            {
                add(next)
            }
        }
        line.held = later + old
        return group
    }

    // MARK: Writing

    private func perform(_ group: [Waiting], holds: Bool) async {
        guard !group.isEmpty else { return }
        let items = group.map(\.item)
        transactions += 1
        do throws(DatabaseError) {
            let rows = try await database.write(
                on: Set(items.map(\.bucket)).sorted(),
                holds: holds,
                statements(items)
            )
            finish(group, try answers(items, rows))
        } catch {
            await divide(group, after: error, held: holds)
        }
    }

    private func finish(_ group: [Waiting], _ answers: [Answer]) {
        precondition(answers.count == group.count, "an answer for each write")
        for (waiting, answer) in zip(group, answers) { waiting.finish(.success(answer)) }
    }

    private func divide(_ group: [Waiting], after error: DatabaseError, held: Bool) async {
        if !held, case .fenced(let number?, _) = error, let bucket = BucketID(rawValue: number) {
            let apart = Group(group.filter { $0.item.bucket == bucket })
            if !apart.members.isEmpty {
                // As many as `HeldRequests` allows wait; nobody else waits with them.
                database.loop.spawn { [self] in await perform(apart.members, holds: true) }
                return await perform(
                    group.filter { $0.item.bucket != bucket },
                    holds: false
                )
            }
        }
        guard group.count > 1, error.isOfOneRow else {
            for waiting in group { waiting.finish(.failure(error)) }
            return
        }
        let half = group.count / 2
        await perform(Array(group[..<half]), holds: held)
        await perform(Array(group[half...]), holds: held)
    }
}

extension DatabaseError {
    /// Whether it may be the fault of one row of many, so that the others would pass without it.
    fileprivate var isOfOneRow: Bool {
        switch self {
        case .uniqueViolation, .checkViolation, .foreignKeyViolation, .notNullViolation,
            .serialization, .query:
            true
        // Of a timeout it is not known, and a second one would hold up everybody behind.
        case .unavailable, .timeout, .fenced, .outcomeUnknown, .decoding, .overloaded, .cancelled:
            false
        }
    }
}
