package import EventLoops
import Glibc
package import Logging
package import Logs
package import Metrics
package import Settings
import Synchronization

/// What a process of the cluster is there for: an app node, a worker, a coordinator.
///
/// A role marked `@main` gets its `main()` from here: settings, log, loops, metrics and the end by signal
/// are the same for all; the role brings what it does between ``start()`` and ``drain()``.
package protocol Role: Sendable {
    /// As the program is called, and as its log lines name their logger.
    static var name: String { get }

    /// One phrase for `--help`.
    static var summary: String { get }

    /// All that it can be told; ``Setting/process`` must be among them.
    static var table: [Setting] { get }

    /// Checks what it was told; an error ends the process with status 78 and one line.
    init(_ values: SettingValues, _ parts: ProcessParts) throws

    /// Brings everything up; an error ends the process with status 78 and one line.
    ///
    /// Called on a loop of the main thread, which takes no signal until this returns: what may have to wait
    /// for others longer than an operator waits for SIGTERM is spawned on a loop of `parts`.
    func start() async throws

    /// Called once after SIGTERM or SIGINT; the loops stop when it returns.
    func drain() async
}

/// What every process has, whatever it does.
package struct ProcessParts: Sendable {
    package let sink: LogSink
    package let log: Logger
    package let loops: [EventLoop]
    package let metrics: MetricsRegistry
}

extension Role {
    package static func main() {
        // Blocked before any thread is made, so that only `sigwait` below ever sees them.
        Termination.block()
        do {
            let values = try complete {
                try await SettingValues.load(
                    table,
                    arguments: Array(CommandLine.arguments.dropFirst()),
                    environment: Environment.variables
                )
            }
            switch values.request {
            case .help: say(values.help(program: name, summary: summary), to: STDOUT_FILENO)
            case .printConfig: say(values.printed, to: STDOUT_FILENO)
            case .run: try run(values)
            }
        } catch {
            say("\(name): \(error)\n", to: STDERR_FILENO)
            exit(EX_CONFIG)
        }
    }

    private static func run(_ values: SettingValues) throws {
        let sink = LogSink()
        let level = Logger.Level(rawValue: values.text("log.level")) ?? .info
        LoggingSystem.bootstrap { JSONLogHandler(label: $0, sink: sink, level: level) }
        let log = Logger(label: name)
        let group = LoopGroup(count: loopCount(values), name: name)
        let metrics = MetricsRegistry()
        ProcessMetrics.register(in: metrics, loops: group.loops)
        if let failpoint = Failpoint.armed {
            log.warning("failpoint armed", metadata: ["failpoint": "\(failpoint)"])
        }

        let parts = ProcessParts(sink: sink, log: log, loops: group.loops, metrics: metrics)
        let role = try Self(values, parts)
        let server = MetricsServer(metrics, on: group.loops[0])
        try complete {
            try await server.listen(
                address: values.text("metrics.address"),
                port: values.integer("metrics.port")
            )
            try await role.start()
        }

        let signal = Termination.wait()
        log.notice("draining", metadata: ["signal": "\(signal)"])
        try complete {
            await role.drain()
            await server.drain()
        }
        group.stopAndJoin()
        log.notice("stopped")
        sink.flush()
    }

    private static func loopCount(_ values: SettingValues) -> Int {
        let asked = values.integer("loops")
        return asked > 0 ? asked : max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }
}

/// Runs `body` to its end on a loop of the calling thread.
private func complete<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) throws -> T {
    let loop = EventLoop(name: "main")
    let result = Mutex<Result<T, any Error>?>(nil)
    loop.spawn {
        do {
            let value = try await body()
            result.withLock { $0 = .success(value) }
        } catch {
            result.withLock { $0 = .failure(error) }
        }
        loop.stop()
    }
    loop.run()
    guard let result = result.withLock({ $0 }) else {
        preconditionFailure("the loop ended before its only task")
    }
    return try result.get()
}

private func say(_ text: String, to descriptor: Int32) {
    let bytes = Array(text.utf8)
    _ = write(descriptor, bytes, bytes.count)
}
