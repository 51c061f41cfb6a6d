import EventLoops
import HTTP
import Synchronization

/// A server on a loop and port of its own, for one test.
final class RunningServer: Sendable {
    let loop: EventLoop
    let server: HTTPServer
    let port: Int
    private let group: LoopGroup

    init(
        limits: HTTPLimits = HTTPLimits(),
        hooks: HTTPHooks = HTTPHooks(),
        trustsForwarded: Bool = false,
        handler: @escaping Handler
    ) async throws {
        group = LoopGroup(count: 1)
        let loop = group.loops[0]
        self.loop = loop
        (server, port) = try await loop.run {
            let server = HTTPServer(
                loop: loop,
                limits: limits,
                hooks: hooks,
                trustsForwarded: trustsForwarded,
                handler: handler
            )
            return (server, try server.listen(address: "127.0.0.1", port: 0))
        }
    }

    var statistics: HTTPServerStatistics {
        get async throws { try await loop.run { self.server.statistics } }
    }

    func stop(deadline: Duration = .milliseconds(200)) async throws {
        try await loop.run { await self.server.drain(deadline: deadline) }
        group.stopAndJoin()
    }
}

extension EventLoop {
    /// Runs `body` on the loop and returns what it returns.
    func run<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { done in
            self.spawn {
                do { done.resume(returning: try await body()) } catch {
                    done.resume(throwing: error)
                }
            }
        }
    }
}

/// A value that a handler leaves for its test.
final class Left<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    var now: Value { value.withLock { $0 } }

    func change(_ body: (inout Value) -> Void) { value.withLock { body(&$0) } }
}

/// Tries until `condition` holds, for at most five seconds.
func eventually(_ condition: () async throws -> Bool) async rethrows -> Bool {
    for _ in 0..<1_000 {
        if try await condition() { return true }
        // The test's own pace; a cancelled sleep only makes it faster.
        try? await Task.sleep(for: .milliseconds(5))
    }
    return false
}
