import Glibc

/// A real memcached.
package final class MemcachedServer: Sendable {
    package let host = "127.0.0.1"
    package let port: Int
    package let process: ServerProcess

    private init(port: Int, process: ServerProcess) {
        self.port = port
        self.process = process
    }

    /// The memcached that all tests of this run share; nobody flushes or stops it.
    package static func shared() async throws -> MemcachedServer {
        try await SharedServers.only.memcached()
    }

    package static func start(megabytes: Int = 64) async throws -> MemcachedServer {
        let port = try TestPorts.take()
        let process = ServerProcess(
            folder: try makeFolder(),
            command: [
                "/usr/bin/memcached", "-l", "127.0.0.1", "-p", String(port), "-U", "0", "-t", "2",
                "-m", String(megabytes),
            ] + (geteuid() == 0 ? ["-u", "nobody"] : [])
        )
        let server = MemcachedServer(port: port, process: process)
        try await server.startAgain()
        return server
    }

    /// Starts it, empty, after a stop or a kill.
    package func startAgain() async throws {
        try await process.start()
        try await TestPorts.wait(for: port, of: process)
    }
}

/// A real etcd of one member, with or without users.
package final class EtcdServer: Sendable {
    package let host = "127.0.0.1"
    package let port: Int
    package let process: ServerProcess

    package var endpoint: String { "http://\(host):\(port)" }

    private init(port: Int, process: ServerProcess) {
        self.port = port
        self.process = process
    }

    /// The etcd that all tests of this run share; it has no users, and each test its own key prefix.
    package static func shared() async throws -> EtcdServer {
        try await SharedServers.only.etcd()
    }

    package static func start() async throws -> EtcdServer {
        let port = try TestPorts.take()
        let peers = try TestPorts.take()
        let folder = try makeFolder()
        let process = ServerProcess(
            folder: folder,
            command: [
                "/usr/bin/etcd", "--name", "test", "--data-dir", "\(folder)/data",
                "--listen-client-urls", "http://127.0.0.1:\(port)",
                "--advertise-client-urls", "http://127.0.0.1:\(port)",
                "--listen-peer-urls", "http://127.0.0.1:\(peers)",
                "--initial-advertise-peer-urls", "http://127.0.0.1:\(peers)",
                "--initial-cluster", "test=http://127.0.0.1:\(peers)",
                "--log-level", "warn", "--auth-token-ttl", "2",
            ]
        )
        let server = EtcdServer(port: port, process: process)
        try await server.startAgain()
        return server
    }

    /// Starts it with its data after a stop or a kill, and waits until it answers.
    package func startAgain() async throws {
        try await process.start()
        for _ in 0..<400 {
            let health = try await etcdctl(["endpoint", "health"])
            // A server with users refuses the anonymous question, which is an answer, too.
            if health.status == 0 || health.errors.contains("user name is empty") { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw TestSupportError("etcd did not come up: \(process.log)")
    }

    /// Makes user `root` with `password` and turns authentication on.
    package func requirePassword(_ password: String) async throws {
        for command in [
            ["user", "add", "root:\(password)"], ["role", "add", "root"],
            ["user", "grant-role", "root", "root"], ["auth", "enable"],
        ] {
            let result = try await etcdctl(command)
            guard result.status == 0 else { throw TestSupportError(result.errors) }
        }
    }

    package func etcdctl(_ arguments: [String]) async throws -> CommandResult {
        try await runCommand(
            ["etcdctl", "--endpoints", endpoint] + arguments,
            environment: ["ETCDCTL_API": "3"]
        )
    }
}
