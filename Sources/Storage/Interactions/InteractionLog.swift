package import Database
internal import EventLoops
package import Logging
package import Metrics
import Postgres
package import Sharding

/// What users were shown and what they looked at, on the viewer's shard: ranking learns from it.
///
/// Recording never waits and never fails. What is recorded is gathered for a moment and written in batches, each
/// shard by itself; what a shard cannot take in time is dropped, and counted. The tables stay where they are when a
/// bucket moves: a viewer's rows lie on every shard that was theirs. ``InteractionExport`` brings them together.
package final class InteractionLog: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Interactions of one loop that may wait for one shard.
    package static let queueLimit = 2_000
    /// Rows of one insert.
    package static let batchSize = 500
    /// How long interactions are gathered before they are written.
    package static let gatherTime = Duration.milliseconds(500)
    /// Until a shard that did not answer is tried again.
    private static let retryPause = Duration.seconds(1)

    private struct Queue {
        var rows: [Interaction] = []
        var isWriting = false
    }

    private let database: Database
    private let log: Logger
    private let written: Counter
    private let dropped: Counter
    private var budget: RecordBudget
    private var queues: [ShardID: Queue] = [:]
    private var isStopped = false

    /// `servedPerSecond` bounds the pages that one loop records: past it, they are dropped and counted.
    package init(
        database: Database,
        servedPerSecond: Int,
        metrics: MetricsRegistry,
        log: Logger
    ) {
        self.database = database
        self.log = log
        budget = RecordBudget(perSecond: servedPerSecond)
        written = metrics.counter(
            "tessera_interactions_written_total",
            help: "Interactions that were written to the log."
        )
        dropped = metrics.counter(
            "tessera_interactions_dropped_total",
            help: "Interactions that the log had no room for, or no answer from its shard."
        )
    }

    /// Records that an answer held these posts, in this order; the first is at `firstPosition` of its list.
    ///
    /// `ordering` names what chose the order, with its version, such as `newest-1`. Costs an append to an array; past
    /// the bound on pages a second not even that, since nothing is asked for then.
    package func record(
        request: @autoclosure () -> String,
        viewer: some RoutedID,
        surface: Surface,
        ordering: String,
        posts: @autoclosure () -> [some RoutedID],
        firstPosition: Int = 0
    ) {
        guard budget.take(at: database.loop.milliseconds) else {
            dropped.add()
            return
        }
        let posts = posts().prefix(Interaction.postsLimit)
        guard !posts.isEmpty else { return }
        let positions = posts.indices.map { Int16(clamping: firstPosition + $0) }
        record(
            Interaction(
                at: .now,
                kind: .served,
                viewer: viewer.rawValue,
                request: String(request().prefix(Interaction.requestLimit)),
                surface: surface,
                ordering: ordering,
                posts: posts.map(\.rawValue),
                positions: positions,
                milliseconds: []
            ),
            of: viewer.bucket
        )
    }

    /// Records one interaction of a viewer in that bucket; false where there is no room for it.
    @discardableResult
    package func record(_ interaction: Interaction, of bucket: BucketID) -> Bool {
        database.loop.assertOnLoop()
        let shard = database.shard(of: bucket)
        var queue = queues[shard] ?? Queue()
        guard !isStopped, queue.rows.count < Self.queueLimit else {
            dropped.add()
            return false
        }
        // Taken out while it grows, so that it is not copied.
        queues[shard] = nil
        queue.rows.append(interaction)
        let begins = !queue.isWriting
        queue.isWriting = true
        queues[shard] = queue
        if begins { database.loop.spawn { await self.write(to: shard) } }
        return true
    }

    /// Writes what has been recorded; nothing more is taken. Ends after `deadline`, whatever is left.
    package func drain(deadline: Duration) async {
        isStopped = true
        let end = database.loop.milliseconds + deadline.wholeMilliseconds
        while queues.values.contains(where: \.isWriting), database.loop.milliseconds < end {
            // Only cancellation ends a sleep early; then the drain is over as well.
            do { try await database.loop.sleep(for: .milliseconds(10)) } catch { return }
        }
    }

    // MARK: Writing

    private func write(to shard: ShardID) async {
        if !isStopped { await pause(Self.gatherTime) }
        while let rows = next(of: shard) {
            let error = await insert(rows, into: shard)
            if settle(rows, of: shard, error) { await pause(Self.retryPause) }
        }
    }

    /// What becomes of rows after an attempt to write them; true if the shard should be left alone for a while.
    private func settle(_ rows: [Interaction], of shard: ShardID, _ error: DatabaseError?) -> Bool {
        guard let error else {
            written.add(rows.count)
            return false
        }
        // A shard that was removed does not come back.
        if error == .unavailable, !isStopped, database.shards.contains(shard) {
            putBack(rows, for: shard)
            return true
        }
        // It may have been written, or never can be: nothing here is worth doubling or keeping the rest back.
        dropped.add(rows.count)
        log.notice(
            "interactions dropped",
            metadata: ["shard": "\(shard)", "count": "\(rows.count)", "error": "\(error)"]
        )
        return false
    }

    private func insert(_ rows: [Interaction], into shard: ShardID) async -> DatabaseError? {
        do throws(DatabaseError) {
            try await database.write(onShard: shard, [Self.insertion(of: rows)])
            return nil
        } catch {
            return error
        }
    }

    /// The oldest rows of a shard; the writing ends where there are none.
    private func next(of shard: ShardID) -> [Interaction]? {
        guard var queue = queues.removeValue(forKey: shard), !queue.rows.isEmpty else { return nil }
        let rows = Array(queue.rows.prefix(Self.batchSize))
        queue.rows.removeFirst(rows.count)
        queues[shard] = queue
        return rows
    }

    /// Those that came meanwhile are younger, and give way.
    private func putBack(_ rows: [Interaction], for shard: ShardID) {
        var queue = queues.removeValue(forKey: shard) ?? Queue(isWriting: true)
        let room = Self.queueLimit - rows.count
        dropped.add(max(0, queue.rows.count - room))
        queue.rows = rows + queue.rows.prefix(room)
        queues[shard] = queue
    }

    private func pause(_ duration: Duration) async {
        // Only cancellation ends a sleep early, and nobody cancels these tasks.
        try? await database.loop.sleep(for: duration)
    }

    /// Lists travel as the text of arrays: PostgreSQL has no arrays of arrays of different lengths.
    static func insertion(of rows: [Interaction]) -> SQL {
        """
        INSERT INTO interactions.event
            (at, kind, viewer, request, surface, ordering, posts, positions, milliseconds)
        SELECT e.at, e.kind, e.viewer, e.request, e.surface, e.ordering, e.posts::bigint[],
            e.positions::smallint[], e.milliseconds::integer[]
        FROM unnest(
            \(rows.map(\.at))::timestamptz[], \(rows.map(\.kind.rawValue))::smallint[],
            \(rows.map(\.viewer))::bigint[], \(rows.map(\.request))::text[],
            \(rows.map(\.surface.rawValue))::text[], \(rows.map(\.ordering))::text[],
            \(rows.map { array($0.posts) })::text[], \(rows.map { array($0.positions) })::text[],
            \(rows.map { array($0.milliseconds) })::text[]
        ) AS e (at, kind, viewer, request, surface, ordering, posts, positions, milliseconds)
        """
    }

    private static func array(_ numbers: [some BinaryInteger]) -> String {
        "{" + numbers.map { String($0) }.joined(separator: ",") + "}"
    }
}

/// How many records a second may begin: a bucket of tokens that holds those of one second.
struct RecordBudget {
    private let perSecond: Double
    private var tokens: Double
    private var at: UInt64?

    init(perSecond: Int) {
        self.perSecond = Double(perSecond)
        tokens = Double(perSecond)
    }

    /// `now` in milliseconds of any clock that does not go back.
    mutating func take(at now: UInt64) -> Bool {
        if let last = at, now > last {
            tokens = min(perSecond, tokens + perSecond * Double(now - last) / 1_000)
        }
        at = now
        guard tokens >= 1 else { return false }
        tokens -= 1
        return true
    }
}
