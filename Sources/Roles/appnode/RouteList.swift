import Contracts
import Database
import EventLoops
import Glibc
import JSON
import Logging
import Logs
import Memcache
import Metrics
import Processes
import ServiceKit
import Settings
import Sharding

/// `appnode --routes`: which service declares which paths, for whoever configures a balancer.
///
/// The services are made as for a node, of which nothing is started: no shard, cache or etcd is asked.
enum RouteList {
    static let flag = "--routes"

    /// Prints one JSON array; ends the process with the status of a wrong configuration if it is wrong.
    static func show(arguments: [String]) {
        let loop = EventLoop(name: "routes")
        loop.spawn {
            do {
                write(try await text(arguments, on: loop) + "\n", to: STDOUT_FILENO)
                exit(EX_OK)
            } catch {
                write("\(AppNode.name): \(error)\n", to: STDERR_FILENO)
                exit(EX_CONFIG)
            }
        }
        // Ends by `exit` above.
        loop.run()
    }

    private static func text(_ arguments: [String], on loop: EventLoop) async throws -> String {
        let values = try await SettingValues.load(
            AppNodeSettings.table,
            arguments: arguments,
            environment: Environment.variables
        )
        let shared = try NodeParts(
            settings: AppNodeSettings(values),
            metrics: MetricsRegistry(),
            sink: LogSink(),
            log: Logger(label: AppNode.name),
            health: NodeHealth()
        )
        guard let name = ShardID("nobody") else { preconditionFailure("not a name") }
        let nobody = ShardRecord(id: name, members: [.init(host: "127.0.0.1", port: 1)])
        let map = try ShardMap(
            generation: 1,
            entries: Array(repeating: .init(shard: nobody.id), count: BucketID.count),
            shards: [nobody]
        )
        let services = NodeServices(
            loop: loop,
            shared: shared,
            database: Database(loop: loop, map: map, settings: try shared.settings.database),
            cache: MemcachedClient(loop: loop, pools: [:])
        )
        return String(decoding: services.routes.jsonBytes, as: UTF8.self)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
