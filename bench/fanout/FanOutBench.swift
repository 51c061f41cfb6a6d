import ArgumentParser
import Contracts
import Database
import EventLoops
import Feed
import Glibc
import Jobs
import Logging
import Metrics
import Postgres
import Sharding

/// Measures the product's fan-out on one prepared shard: `go FIRST COUNT` on standard input publishes that many
/// posts and prints how many entries were delivered in how many seconds, from the commit to the last entry.
@main
struct FanOutBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "fanoutbench")

    @Option var port: Int
    @Option var database: String
    @Option var author: Int64
    @Option var connections = 4
    @Option var threshold = 1_000_000

    func run() async throws {
        let group = LoopGroup(count: 1, name: "fanout")
        let input = Offload(threads: 1, queueLimit: 1, name: "input")
        let loop = group.loops[0]
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
            loop.spawn {
                do {
                    try await serve(on: loop, input)
                    done.resume()
                } catch {
                    done.resume(throwing: error)
                }
            }
        }
        group.stopAndJoin()
    }

    private func serve(on loop: EventLoop, _ input: Offload) async throws {
        var settings = DatabaseSettings(user: "worker", password: nil)
        settings.writeConnections = connections
        let record = ShardRecord(
            id: ShardID("s1")!,
            members: [.init(host: "127.0.0.1", port: port)],
            database: database
        )
        let shards = Database(
            loop: loop,
            map: try Placement.firstMap(shards: [record]),
            settings: settings
        )
        let runner = JobRunner(
            loop: loop,
            database: shards,
            handlers: FeedService.effects(
                database: shards,
                posts: NoPosts(),
                drop: nil,
                threshold: threshold
            ),
            metrics: MetricsRegistry(),
            logger: Logger(label: "fanoutbench")
        )
        runner.start()
        while let line = try await input.run({ readLine() }) {
            let words = line.split(separator: " ")
            guard words.count == 3, words[0] == "go", let first = Int64(words[1]),
                let count = Int64(words[2])
            else { throw ValidationError("go FIRST COUNT is expected") }
            let seconds = try await publish(first..<first + count, shards)
            let answer = Array("{\"seconds\": \(seconds)}\n".utf8)
            guard write(STDOUT_FILENO, answer, answer.count) == answer.count else { break }
        }
        await runner.drain(deadline: .seconds(5))
        await shards.close()
    }

    private func publish(_ posts: Range<Int64>, _ shards: Database) async throws -> Double {
        let author = UserID(rawValue: author)
        let effects = posts.map { post in
            let payload = PostEffect(post: PostID(rawValue: post), author: author)
            return Effect(EffectKinds.feedFanOut, owner: author, payload: payload).enqueue
        }
        let start = EventLoop.nanoseconds
        try await shards.write(on: author, effects)
        var left = 1
        while left > 0 {
            try await shards.loop.sleep(for: .milliseconds(2))
            let rows: [Bool] = try await shards.rows(
                "SELECT EXISTS (SELECT FROM jobs.outbox)",
                on: author
            )
            left = rows == [false] ? 0 : 1
        }
        return Double(EventLoop.nanoseconds - start) / 1e9
    }
}

/// Fan-out reads no posts.
private struct NoPosts: PostsClient {
    func statuses(
        _ ids: [PostID],
        viewer: UserID?,
        by way: VisibilityRules.Way
    ) async throws -> [PostID: StatusEntity] { [:] }

    func recentPosts(of authors: [UserID], in window: FeedWindow) async throws -> [PostReference] {
        []
    }

    func recentCount(of authors: [UserID], from id: Int64, limit: Int) async throws -> Int { 0 }

    func homeStatuses(
        _ posts: [PostReference],
        viewer: UserID,
        marks: ViewerMarks
    ) async throws -> [PostID: StatusEntity] { [:] }

    func homeMarks(of viewer: UserID, in window: FeedWindow) async throws -> ViewerMarks {
        ViewerMarks()
    }

    func taggedPosts(for reader: UserID, in window: FeedWindow) async throws -> [PostReference] {
        []
    }
}
