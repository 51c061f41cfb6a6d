import EventLoops
import Glibc
import Logging
import Logs
import Metrics
import Settings
import Synchronization

/// Moves buckets between shards, while it holds the lease; stands by otherwise.
@main
enum Coordinator {
    static func main() {
        // Blocked before any thread is made, so that only `sigwait` below ever sees them.
        Termination.block()
        do {
            let settings = try complete {
                try await SettingValues.load(
                    CoordinatorSettings.table,
                    arguments: Array(CommandLine.arguments.dropFirst()),
                    environment: Environment.variables
                )
            }
            switch settings.request {
            case .help:
                let text = settings.help(
                    program: "coordinator",
                    summary: "moves buckets between shards"
                )
                write(text, to: STDOUT_FILENO)
            case .printConfig: write(settings.printed, to: STDOUT_FILENO)
            case .run: try run(CoordinatorSettings(settings))
            }
        } catch {
            write("coordinator: \(error)\n", to: STDERR_FILENO)
            exit(78)
        }
    }

    private static func run(_ settings: CoordinatorSettings) throws {
        let sink = LogSink()
        let level = settings.logLevel
        LoggingSystem.bootstrap { JSONLogHandler(label: $0, sink: sink, level: level) }
        let log = Logger(label: "coordinator")
        let group = LoopGroup(count: 1, name: "coordinator")
        let metrics = MetricsRegistry()
        ProcessMetrics.register(in: metrics, loops: group.loops)

        let loop = group.loops[0]
        let process = CoordinatorProcess(
            settings: settings,
            loop: loop,
            metrics: metrics,
            log: log
        )
        try complete { try await onLoop(loop) { try process.begin() } }
        let signal = Termination.wait()
        log.notice("stopping", metadata: ["signal": "\(signal)"])
        try complete { try await onLoop(loop) { await process.drain() } }
        group.stopAndJoin()
        log.notice("stopped")
        sink.flush()
    }

    /// Runs `body` to its end on a loop of the calling thread.
    private static func complete<T: Sendable>(
        _ body: @escaping @Sendable () async throws -> T
    ) throws -> T {
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

    /// Runs `body` on a loop and waits for it from elsewhere.
    private static func onLoop<T: Sendable>(
        _ loop: EventLoop,
        _ body: @escaping @Sendable () async throws -> T
    ) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            loop.spawn {
                do {
                    continuation.resume(returning: try await body())
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }

    private static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        _ = Glibc.write(descriptor, bytes, bytes.count)
    }
}

/// The signals that end the process in order.
enum Termination {
    private static var signals: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        return set
    }

    static func block() {
        var set = signals
        pthread_sigmask(SIG_BLOCK, &set, nil)
        // A peer that goes while it is written to is an error of that write.
        signal(SIGPIPE, SIG_IGN)
    }

    /// Waits on the calling thread, which does nothing else any more.
    static func wait() -> Int32 {
        var set = signals
        var signal: Int32 = 0
        while sigwait(&set, &signal) != 0 {}
        return signal
    }
}

enum Environment {
    static var variables: [String: String] {
        var variables: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let parts = String(cString: entry).split(separator: "=", maxSplits: 1)
            if parts.count == 2 { variables[String(parts[0])] = String(parts[1]) }
            next += 1
        }
        return variables
    }
}
