import Glibc

/// A real PostgreSQL 15 with durable settings, made by an `initdb` of its own.
///
/// ``shared()`` gives the one of the test run, in which each test makes a database of its own;
/// ``start(settings:)`` gives a server that a test may kill.
package final class PostgresServer: Sendable {
    package let host = "127.0.0.1"
    package let port: Int
    package let superuser = "mover"
    package let password = "mover-secret"
    package let process: ServerProcess

    private init(port: Int, process: ServerProcess) {
        self.port = port
        self.process = process
    }

    /// The server that all tests of this run share; nobody stops it.
    package static func shared() async throws -> PostgresServer {
        try await SharedServers.only.postgres()
    }

    /// Makes and starts a new server; `settings` are lines of `postgresql.conf`.
    package static func start(settings: [String] = []) async throws -> PostgresServer {
        let folder = try makeFolder()
        let port = try TestPorts.take()
        let user = PostgresUser.forServers
        user?.own(folder)
        // A copy of an initdb takes a tenth of its time.
        let fresh = try await SharedServers.only.emptyData()
        let made = try await runCommand(prefix(user) + ["cp", "-a", fresh, "\(folder)/data"])
        guard made.status == 0 else { throw TestSupportError("cp: \(made.errors)") }
        let lines = standardSettings(folder: folder, port: port) + settings
        let path = "\(folder)/data/postgresql.conf"
        try writeText((readText(path) ?? "") + lines.joined(separator: "\n") + "\n", to: path)
        let process = ServerProcess(
            folder: folder,
            command: prefix(user) + [
                "/usr/lib/postgresql/15/bin/postgres", "-D", "\(folder)/data",
            ],
            stopSignal: SIGINT
        )
        let server = PostgresServer(port: port, process: process)
        try await server.startAgain()
        return server
    }

    /// Makes the data of a server that nobody has used yet.
    fileprivate static func initialize() async throws -> String {
        let folder = try makeFolder()
        let user = PostgresUser.forServers
        try writeText("mover-secret", to: "\(folder)/password")
        user?.own(folder)
        user?.own("\(folder)/password")
        let made = try await runCommand(
            prefix(user) + [
                "initdb", "-D", "\(folder)/data", "--username=mover", "--auth=scram-sha-256",
                "--pwfile=\(folder)/password", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
            ]
        )
        guard made.status == 0 else { throw TestSupportError("initdb: \(made.errors)") }
        // Nothing but a guardian, which removes the folder when the run ends.
        try await ServerProcess(folder: folder, command: ["/bin/sleep", "infinity"]).start()
        return "\(folder)/data"
    }

    /// Starts the server after a stop or a kill, and waits until it answers queries.
    package func startAgain() async throws {
        try await process.start()
        for _ in 0..<600 {
            if let _ = try? await psql("SELECT 1") { return }  // Not yet: ask again.
            try await Task.sleep(for: .milliseconds(50))
        }
        throw TestSupportError("PostgreSQL did not come up: \(process.log)")
    }

    /// Makes and starts a standby that follows this server, until it is promoted.
    package func makeStandby() async throws -> PostgresServer {
        let folder = try makeFolder()
        let port = try TestPorts.take()
        let user = PostgresUser.forServers
        user?.own(folder)
        let made = try await runCommand(
            Self.prefix(user) + [
                "pg_basebackup", "-h", host, "-p", String(self.port), "-U", superuser, "-D",
                "\(folder)/data", "-R", "-X", "stream", "--checkpoint=fast", "--no-sync",
            ],
            environment: ["PGPASSWORD": password]
        )
        guard made.status == 0 else { throw TestSupportError("pg_basebackup: \(made.errors)") }
        let path = "\(folder)/data/postgresql.conf"
        let own = "port = \(port)\nunix_socket_directories = '\(folder)'\n"
        try writeText((readText(path) ?? "") + own, to: path)
        let standby = PostgresServer(
            port: port,
            process: ServerProcess(
                folder: folder,
                command: Self.prefix(user) + [
                    "/usr/lib/postgresql/15/bin/postgres", "-D", "\(folder)/data",
                ],
                stopSignal: SIGINT
            )
        )
        try await standby.startAgain()
        return standby
    }

    /// Runs SQL with psql, in one session that stops at the first error; gives the rows, unaligned, `|` between
    /// columns.
    @discardableResult
    package func psql(
        _ sql: String,
        database: String = "postgres",
        user: String = "mover",
        singleTransaction: Bool = false
    ) async throws -> String {
        let result = try await runCommand(
            [
                "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose",
            ] + (singleTransaction ? ["-1"] : []) + [
                "-h", host, "-p", String(port), "-U", user, "-d", database, "-f", "-",
            ],
            input: sql,
            environment: ["PGPASSWORD": "\(user)-secret", "PGCONNECT_TIMEOUT": "5"]
        )
        guard result.status == 0 else { throw TestSupportError(result.errors) }
        return String(result.output.drop { $0 == "\n" }.reversed().drop { $0 == "\n" }.reversed())
    }

    /// Makes a database with a name of its own: empty, or a copy of one that nobody uses.
    package func newDatabase(like template: String = "template1") async throws -> String {
        let name = "test_\(UInt64.random(in: 0 ... .max))"
        try await psql("CREATE DATABASE \(name) TEMPLATE \(template)")
        return name
    }

    private static func standardSettings(folder: String, port: Int) -> [String] {
        [
            "listen_addresses = '127.0.0.1'", "port = \(port)",
            "unix_socket_directories = '\(folder)'", "shared_buffers = 64MB",
            "max_connections = 200", "wal_level = logical", "max_wal_size = 256MB", "jit = off",
            "max_parallel_workers_per_gather = 0", "autovacuum_max_workers = 1", "fsync = on",
            "full_page_writes = on", "synchronous_commit = on", "log_min_messages = warning",
            // Or the stream of a move may wait for five seconds to begin.
            "wal_retrieve_retry_interval = '200ms'", "timezone = 'UTC'",
        ]
    }

    private static func prefix(_ user: PostgresUser?) -> [String] {
        guard let user else { return [] }
        return [
            "setpriv", "--reuid=\(user.uid)", "--regid=\(user.gid)", "--clear-groups", "--",
        ]
    }
}

/// PostgreSQL refuses to run as root; then it runs as the package's own user.
private struct PostgresUser {
    let uid: uid_t
    let gid: gid_t

    static var forServers: PostgresUser? {
        guard geteuid() == 0, let entry = getpwnam("postgres") else { return nil }
        return PostgresUser(uid: entry.pointee.pw_uid, gid: entry.pointee.pw_gid)
    }

    func own(_ path: String) {
        chown(path, uid, gid)
    }
}

/// Starts what the whole run shares, once, at its first use.
actor SharedServers {
    static let only = SharedServers()

    private var dataStart: Task<String, any Error>?
    private var postgresStart: Task<PostgresServer, any Error>?
    private var memcachedStart: Task<MemcachedServer, any Error>?
    private var etcdStart: Task<EtcdServer, any Error>?

    /// Data of a server that was never started, to be copied.
    func emptyData() async throws -> String {
        let start = dataStart ?? Task { try await PostgresServer.initialize() }
        dataStart = start
        return try await start.value
    }

    func postgres() async throws -> PostgresServer {
        let start = postgresStart ?? Task { try await PostgresServer.start() }
        postgresStart = start
        return try await start.value
    }

    func memcached() async throws -> MemcachedServer {
        let start = memcachedStart ?? Task { try await MemcachedServer.start() }
        memcachedStart = start
        return try await start.value
    }

    func etcd() async throws -> EtcdServer {
        let start = etcdStart ?? Task { try await EtcdServer.start() }
        etcdStart = start
        return try await start.value
    }
}
