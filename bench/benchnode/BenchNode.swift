import ArgumentParser
import Contracts
import EventLoops
import Glibc
import HTTP
import Logging
import Memcache
import Metrics
import ServiceKit
import Sharding

/// The product's own HTTP stack, with everything on that an app node has on (routes, request ids, metrics,
/// limits, timeouts), around the few routes that `bench/run` measures.
@main
struct BenchNode: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "benchnode",
        abstract: "Serves the measured routes of bench/run on the product's HTTP stack."
    )

    @Option(help: "Port on 127.0.0.1.")
    var port: Int

    @Option(help: "Event loops.")
    var loops = 1

    @Option(help: "The memcached of the cached routes, as host:port.")
    var memcached: String?

    @Option(help: "How it is spoken to: meta or libmemcached.")
    var cacheClient = CacheTransport.meta

    @Option(help: "Port of a PostgreSQL with the table of scenario select20.")
    var postgresPort: Int?

    @Option(help: "Connections of each loop for reads.")
    var readConnections = 1

    func run() throws {
        signal(SIGPIPE, SIG_IGN)
        let group = LoopGroup(count: loops, name: "bench")
        for loop in group.loops {
            loop.execute { [self] in serve(on: loop) }
        }
        while true { Glibc.pause() }
    }

    private func serve(on loop: EventLoop) {
        let services = ServiceServer(
            endpoints: [
                HelloRoute.endpoint,
                CacheRoute.endpoint(
                    loop: loop,
                    node: memcached.flatMap { CacheNode($0) },
                    transport: cacheClient
                ),
            ]
                + (postgresPort.map {
                    Select20Route(loop: loop, port: $0, connections: readConnections).endpoints
                } ?? []),
            sessions: NobodysSessions(),
            publicURL: "http://127.0.0.1:\(port)",
            metrics: MetricsRegistry(),
            log: Logger(label: "benchnode")
        )
        let server = HTTPServer(loop: loop, hooks: services.hooks) { request in
            try await services.handle(request)
        }
        do {
            try server.listen(address: "127.0.0.1", port: port)
        } catch {
            say("benchnode: \(error)")
            Glibc.exit(1)
        }
        loop.onStop { _ = server }
    }

    private func say(_ text: String) {
        let bytes = Array((text + "\n").utf8)
        _ = write(2, bytes, bytes.count)
    }
}

/// The measured routes are open; nobody has a token.
private struct NobodysSessions: SessionsClient {
    func revoked(among sessions: [SessionID]) async throws -> Set<SessionID> { [] }

    func verify(_ token: String) async throws -> Authentication? { nil }
}

extension CacheTransport: ExpressibleByArgument {}
