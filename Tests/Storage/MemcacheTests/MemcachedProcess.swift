import Foundation
import Glibc

/// A real memcached on a port of its own, which a test may stop, continue, kill and start again.
final class MemcachedProcess: @unchecked Sendable {
    // @unchecked: a test uses it from one task at a time.
    let port: UInt16
    private var process: Process?

    init() throws {
        port = try MemcachedProcess.freePort()
        try start()
    }

    deinit { kill() }

    func start() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/memcached")
        process.arguments = ["-l", "127.0.0.1", "-p", "\(port)", "-U", "0", "-m", "16", "-t", "2"]
        // memcached refuses to run as root unless it is told to.
        if getuid() == 0 { process.arguments! += ["-u", "root"] }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        self.process = process
        for _ in 0..<500 {
            if MemcachedProcess.answers(port) { return }
            usleep(10_000)
        }
        throw ProcessFailure(what: "memcached does not listen on port \(port)")
    }

    /// Stops the process, and returns when each of its threads has stopped.
    func stop() throws {
        guard let process else { return }
        signal(SIGSTOP)
        let tasks = "/proc/\(process.processIdentifier)/task"
        for _ in 0..<500 {
            let threads = try FileManager.default.contentsOfDirectory(atPath: tasks)
            let stopped = try threads.allSatisfy {
                try String(contentsOfFile: "\(tasks)/\($0)/stat", encoding: .utf8).contains(") T ")
            }
            if stopped { return }
            usleep(2_000)
        }
        throw ProcessFailure(what: "memcached does not stop")
    }

    func resume() { signal(SIGCONT) }

    func kill() {
        guard let process else { return }
        signal(SIGKILL)
        process.waitUntilExit()
        self.process = nil
    }

    private func signal(_ number: Int32) {
        if let process, process.isRunning { Glibc.kill(process.processIdentifier, number) }
    }

    struct ProcessFailure: Error { let what: String }

    /// A port below the range from which the system takes ports for outgoing connections.
    private static func freePort() throws -> UInt16 {
        for _ in 0..<200 {
            let port = UInt16.random(in: 23_000...23_999)
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(descriptor) }
            let free = withAddress(port) { bind(descriptor, $0, $1) } == 0
            if free { return port }
        }
        throw ProcessFailure(what: "no free port")
    }

    private static func answers(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        return withAddress(port) { connect(descriptor, $0, $1) } == 0
    }

    private static func withAddress(
        _ port: UInt16,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        // The rebound pointer lives for the call only, and sockaddr_in begins as sockaddr does.
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
