import Dispatch
import Glibc
import Synchronization

/// A real server, started as a descendant of the test run and ended with it.
///
/// A small shell is its parent: it records the server's pid, waits for its own standard input to close (which
/// happens when the test run ends in any way, a crash included), stops the server and removes its folder.
package final class ServerProcess: Sendable {
    /// Where the server keeps its data, pid and log; removed when it stops.
    package let folder: String

    private let command: [String]
    private let stopSignal: Int32
    private let running = Mutex<Running?>(nil)

    private struct Running {
        let guardian: pid_t
        let leash: Int32
        let server: pid_t
    }

    package init(folder: String, command: [String], stopSignal: Int32 = SIGTERM) {
        self.folder = folder
        self.command = command
        self.stopSignal = stopSignal
    }

    /// The server's own pid, for signals.
    package var pid: pid_t? { running.withLock { $0?.server } }

    /// Starts the server; it may have ended before, in which case it finds its data again.
    package func start() async throws {
        try await blocking { try self.startNow() }
    }

    /// Ends the server the way its operator would, and waits for it; `keepingData` allows another start.
    package func stop(keepingData: Bool = false) async {
        await blocking { self.end(keepingData ? "keep\n" : "remove\n") }
    }

    /// SIGKILL, as in a power cut of one process; waits until it is gone and keeps the data.
    package func kill() async {
        signal(SIGKILL)
        await blocking { self.end("keep\n") }
    }

    /// SIGSTOP: the server stays connected and answers nobody. Returns when each of its threads has stopped.
    package func freeze() async {
        signal(SIGSTOP)
        guard let pid else { return }
        await blocking {
            for _ in 0..<500 where !Self.hasStopped(pid) { usleep(1_000) }
        }
    }

    private static func hasStopped(_ pid: pid_t) -> Bool {
        guard let listing = opendir("/proc/\(pid)/task") else { return true }
        defer { closedir(listing) }
        while let entry = readdir(listing) {
            // d_name ends with a zero byte, inside the entry that readdir keeps.
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard !name.hasPrefix(".") else { continue }
            let state = readText("/proc/\(pid)/task/\(name)/stat") ?? ""
            if !state.contains(") T ") { return false }
        }
        return true
    }

    /// SIGCONT after ``freeze()``.
    package func thaw() { signal(SIGCONT) }

    package var log: String { readText("\(folder)/log") ?? "" }

    private func signal(_ number: Int32) {
        guard let pid else { return }
        Glibc.kill(pid, number)
    }

    private static let guardianScript = """
        folder=$1 stop=$2
        shift 2
        rm -f "$folder/pid"
        "$@" </dev/null &
        server=$!
        echo $server >"$folder/pid.new" && mv "$folder/pid.new" "$folder/pid"
        word=remove
        read -r word
        kill -s CONT $server 2>/dev/null
        kill -s $stop $server 2>/dev/null
        (sleep 10; kill -s KILL $server 2>/dev/null) &
        timer=$!
        wait $server 2>/dev/null
        kill $timer 2>/dev/null
        [ "$word" = keep ] || rm -rf "$folder"
        """

    private func startNow() throws {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
            throw TestSupportError("socketpair: \(errno)")
        }
        defer { close(ends[0]) }
        let guardian = try spawn(
            [
                "/bin/sh", "-c", Self.guardianScript, "guardian", folder,
                stopSignal == SIGINT ? "INT" : "TERM",
            ] + command,
            input: ends[0],
            output: "\(folder)/log"
        )
        for _ in 0..<500 {
            if let text = readText("\(folder)/pid"),
                let pid = pid_t(text.split(separator: "\n").first ?? "")
            {
                running.withLock {
                    $0 = Running(guardian: guardian, leash: ends[1], server: pid)
                }
                return
            }
            usleep(10_000)
        }
        close(ends[1])
        throw TestSupportError("\(command[0]) did not start: \(log)")
    }

    private func end(_ word: String) {
        guard let run = running.withLock({ $0.take() }) else { return }
        _ = word.withCString { send(run.leash, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
        close(run.leash)
        var status: Int32 = 0
        while waitpid(run.guardian, &status, 0) < 0 && errno == EINTR {}
    }
}

/// What went wrong while a test prepared its servers.
package struct TestSupportError: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// What a finished command left behind.
package struct CommandResult: Sendable {
    package let status: Int32
    package let output: String
    package let errors: String
}

/// Runs a command to its end, with `input` on its standard input.
package func runCommand(
    _ command: [String],
    input: String = "",
    environment: [String: String] = [:]
) async throws -> CommandResult {
    try await blocking {
        let folder = try makeFolder()
        defer { removeFolder(folder) }
        try writeText(input, to: "\(folder)/in")
        let stdin = open("\(folder)/in", O_RDONLY | O_CLOEXEC)
        defer { close(stdin) }
        let pid = try spawn(
            command,
            input: stdin,
            output: "\(folder)/out",
            errors: "\(folder)/err",
            environment: environment
        )
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return CommandResult(
            status: status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f),
            output: readText("\(folder)/out") ?? "",
            errors: readText("\(folder)/err") ?? ""
        )
    }
}

/// Runs blocking work on a thread that is not one of the few that tests run on.
package func blocking<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { done in
        DispatchQueue.global().async { done.resume(with: Result(catching: body)) }
    }
}

package func blocking<T: Sendable>(_ body: @escaping @Sendable () -> T) async -> T {
    await withCheckedContinuation { done in
        DispatchQueue.global().async { done.resume(returning: body()) }
    }
}

private func spawn(
    _ command: [String],
    input: Int32,
    output: String,
    errors: String? = nil,
    environment: [String: String] = [:]
) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let flags = O_WRONLY | O_CREAT | O_APPEND
    posix_spawn_file_actions_adddup2(&actions, input, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, flags, 0o600)
    if let errors {
        posix_spawn_file_actions_addopen(&actions, 2, errors, flags, 0o600)
    } else {
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
    }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // A group of its own: an interrupt typed at the test run reaches the guardian as a closed pipe.
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    posix_spawnattr_setpgroup(&attributes, 0)

    var variables = environment
    variables["PATH"] = "/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    variables["LC_ALL"] = "C.UTF-8"
    var argv: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] =
        variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for text in argv + envp { free(text) } }
    var pid: pid_t = 0
    let program = command[0].contains("/") ? command[0] : findProgram(command[0])
    let status = posix_spawn(&pid, program, &actions, &attributes, &argv, &envp)
    guard status == 0 else {
        throw TestSupportError("\(command[0]): \(String(cString: strerror(status)))")
    }
    return pid
}

private func findProgram(_ name: String) -> String {
    for folder in ["/usr/lib/postgresql/15/bin", "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"]
    where access("\(folder)/\(name)", X_OK) == 0 {
        return "\(folder)/\(name)"
    }
    return name
}
