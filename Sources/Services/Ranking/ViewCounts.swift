import Contracts
internal import Database
import EventLoops
internal import Logging
internal import Metrics
import Postgres
import Sharding

/// Counts views of posts, many together: they are added up for a moment, and then appended on the posts' shards.
///
/// A view is counted once at most: what was gathered by a process that dies is lost, and so is what finds no room.
final class ViewCounts: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Posts whose views may wait.
    static let postLimit = 5_000
    /// Posts of one write.
    static let batchSize = 500
    static let gatherTime = Duration.seconds(1)

    private let database: Database
    private let dropped: Counter
    private let log: Logger
    private var waiting: [PostID: Int32] = [:]
    private var isWriting = false
    private var isStopped = false

    init(database: Database, metrics: MetricsRegistry, log: Logger) {
        self.database = database
        self.log = log
        dropped = metrics.counter(
            "tessera_views_dropped_total",
            help: "Views of posts that were not counted."
        )
    }

    func add(_ posts: [PostID]) {
        for post in posts { add(post, 1) }
        guard !isWriting, !waiting.isEmpty else { return }
        isWriting = true
        database.loop.spawn { await self.write() }
    }

    private func add(_ post: PostID, _ views: Int32) {
        if waiting[post] == nil, waiting.count >= Self.postLimit {
            dropped.add(Int(views))
        } else {
            waiting[post, default: 0] += views
        }
    }

    func drain(deadline: Duration) async {
        isStopped = true
        let end = database.loop.milliseconds + deadline.wholeMilliseconds
        while isWriting, database.loop.milliseconds < end {
            // Only cancellation ends a sleep early; then the drain is over as well.
            do { try await database.loop.sleep(for: .milliseconds(10)) } catch { return }
        }
    }

    private func write() async {
        while !waiting.isEmpty {
            // Only cancellation ends a sleep early, and nobody cancels this task.
            if !isStopped { try? await database.loop.sleep(for: Self.gatherTime) }
            let taken = waiting
            waiting = [:]
            for (_, posts) in database.grouped(taken.keys.sorted()) {
                for start in stride(from: 0, to: posts.count, by: Self.batchSize) {
                    let end = min(start + Self.batchSize, posts.count)
                    await write(posts[start..<end].map { ($0, taken[$0] ?? 0) })
                }
            }
        }
        isWriting = false
    }

    /// One write of posts that lie on one shard. What certainly was not written waits for the next round.
    private func write(_ views: [(post: PostID, count: Int32)]) async {
        guard let error = await append(views) else { return }
        guard error.isRetryable, error != .timeout, !isStopped else {
            dropped.add(views.reduce(0) { $0 + Int($1.count) })
            return log.notice(
                "views dropped",
                metadata: ["posts": "\(views.count)", "error": "\(error)"]
            )
        }
        for (post, count) in views { add(post, count) }
    }

    private func append(_ views: [(post: PostID, count: Int32)]) async -> DatabaseError? {
        let posts = views.map(\.post)
        do throws(DatabaseError) {
            try await database.write(
                on: Set(posts.map(\.bucket)).sorted(),
                holds: false,
                [
                    // Posts that there are: anybody may name any id.
                    """
                    INSERT INTO counters.delta (bucket, subject, kind, amount)
                    SELECT p.bucket, p.id, \(CounterKind.views.rawValue)::smallint, v.views
                    FROM unnest(
                        \(posts.map(\.bucket))::smallint[], \(posts)::bigint[],
                        \(views.map(\.count))::integer[]
                    ) AS v (bucket, id, views)
                    JOIN posts.listed AS p ON p.bucket = v.bucket AND p.id = v.id
                    """
                ]
            )
            return nil
        } catch {
            return error
        }
    }
}
