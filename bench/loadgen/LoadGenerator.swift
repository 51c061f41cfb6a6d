import ArgumentParser
import EventLoops
import Glibc

/// Loads a social graph through the public API and checks every home timeline against it.
@main
struct LoadGenerator: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "loadgen",
        abstract: "Loads a social graph through the public API and checks every home timeline.",
        discussion: """
            Ends with 0 when every acknowledged post is in every timeline it belongs to, once and in \
            order, and with 1 otherwise. `bench/load` wraps it: photos, chaos, settings.
            """
    )

    @Option(help: "An edge list, two user numbers a line; each line is a friendship, two follows.")
    var graph: String?

    @Option(help: "Draw a power-law graph of this many users instead.")
    var users: Int?

    @Option(help: "Average number of people that a user of a drawn graph follows.")
    var averageFollows = 20

    @Option(help: "Exponent of the power law of a drawn graph.")
    var exponent = 1.0

    @Option(help: "Address of the balancer.")
    var host = "127.0.0.1"

    @Option(help: "Port of the balancer.")
    var port = 8080

    @Option(help: "Directory of JPEG files to post.")
    var photos: String

    @Option(help: "Posts of each user.")
    var posts = 3

    @Option(help: "Share of follows and posts that are taken back.")
    var undone = 0.1

    @Option(help: "Share of readers who return only at the end.")
    var idle = 0.5

    @Option(help: "Requests under way at once.")
    var concurrency = 32

    @Option(help: "Seconds that the cluster may take to settle after the last write.")
    var settle = 180

    @Option(help: "Seed of the graph, the scripts and their order.")
    var seed: UInt64 = 1

    @Flag(help: "Print progress and the result as JSON lines on standard output.")
    var json = false

    func validate() throws {
        guard (graph == nil) != (users == nil) else {
            throw ValidationError("Give either --graph FILE or --users N.")
        }
        guard users.map({ $0 >= 2 }) ?? true, averageFollows >= 1, concurrency >= 1, posts >= 0
        else {
            throw ValidationError("Give at least 2 users, 1 follow and 1 request at once.")
        }
    }

    func run() throws {
        signal(SIGPIPE, SIG_IGN)
        let graph = try socialGraph()
        let photos = try Photos.read(directory: photos)
        let script = Script(
            graph,
            shape: .init(postsPerUser: posts, undone: undone, idleShare: idle, seed: seed)
        )
        let loop = EventLoop(name: "load")
        let outcome = Outcome()
        loop.spawn { [self] in
            let run = Run(
                api: APIClient(
                    loop: loop,
                    host: host,
                    port: port,
                    connections: concurrency,
                    seed: seed &+ 1
                ),
                graph: graph,
                script: script,
                photos: photos,
                settings: .init(concurrency: concurrency, settle: .seconds(settle)),
                progress: Progress(json: json),
                seed: seed ^ EventLoop.nanoseconds
            )
            await outcome.record(run, follows: graph.follows)
            loop.stop()
        }
        loop.run()
        outcome.tell(json: json)
        throw outcome.isRight ? ExitCode.success : ExitCode.failure
    }

    private func socialGraph() throws -> SocialGraph {
        if let users {
            return SocialGraph(
                users: users,
                averageFollows: averageFollows,
                exponent: exponent,
                seed: seed
            )
        }
        let bytes = try Photos.contents(of: graph ?? "")
        return try SocialGraph(edgeList: String(decoding: bytes, as: UTF8.self))
    }
}
