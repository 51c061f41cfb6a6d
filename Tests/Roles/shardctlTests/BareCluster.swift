import Glibc
import TestSupport
import Testing

/// Bare PostgreSQL servers and an etcd with a password: what `shardctl init` is given.
struct BareCluster: Sendable {
    let servers: [PostgresServer]
    let etcd: EtcdServer
    let secrets: String

    static func make(shards count: Int) async throws -> BareCluster {
        let secrets = try makeFolder()
        for role in ["mover", "migrate", "app", "worker"] {
            try writeText("\(role)-secret\n", to: "\(secrets)/postgres-\(role)")
        }
        try writeText("etcd-secret\n", to: "\(secrets)/etcd")
        try writeText("wrong\n", to: "\(secrets)/wrong")
        var servers: [PostgresServer] = []
        for _ in 0..<count { servers.append(try await .start()) }
        let etcd = try await EtcdServer.start()
        try await etcd.requirePassword("etcd-secret")
        return BareCluster(servers: servers, etcd: etcd, secrets: secrets)
    }

    var wrongPassword: String { "\(secrets)/wrong" }

    /// `--shard` options for every server.
    var named: [String] {
        servers.enumerated().flatMap { ["--shard", "s\($0 + 1)=127.0.0.1:\($1.port)"] }
    }

    var migrations: [String] { ["--migrations", "\(packageRoot)/Sources/Storage"] }

    func run(_ arguments: [String]) async throws -> CommandResult {
        var all = arguments
        // An option that a test gives itself is not given twice.
        for (option, value) in [
            ("--etcd", etcd.endpoint), ("--etcd-user", "root"),
            ("--etcd-password-file", "\(secrets)/etcd"), ("--secrets", secrets),
        ] where !arguments.contains(option) {
            all += [option, value]
        }
        return try await runCommand([program("shardctl")] + all)
    }

    @discardableResult
    func expect(
        _ status: Int32,
        _ arguments: [String],
        at location: SourceLocation = #_sourceLocation
    ) async throws -> CommandResult {
        let result = try await run(arguments)
        #expect(
            result.status == status,
            "\(arguments.joined(separator: " ")): \(result.output)\(result.errors)",
            sourceLocation: location
        )
        return result
    }

    /// A copy of the storage modules' migrations in which a file of `module` was edited after it ran.
    func copyOfMigrations(editing module: String) throws -> String {
        let folder = "\(secrets)/edited"
        let copied = "\(folder)/\(module)/Migrations"
        for path in [folder, "\(folder)/\(module)", copied, "\(folder)/Database"] {
            mkdir(path, 0o700)
        }
        mkdir("\(folder)/Database/Migrations", 0o700)
        let sources = "\(packageRoot)/Sources/Storage"
        let control = "Database/Migrations/m0001_control.sql"
        let outbox = "\(module)/Migrations/m0001_outbox.sql"
        try writeText(readText("\(sources)/\(control)") ?? "", to: "\(folder)/\(control)")
        try writeText(
            (readText("\(sources)/\(outbox)") ?? "") + "\n-- edited\n",
            to: "\(folder)/\(outbox)"
        )
        return folder
    }

    func stop() async {
        for server in servers { await server.process.stop() }
        await etcd.process.stop()
        // Three levels of small files; the folder is this test's own.
        _ = try? await runCommand(["rm", "-rf", secrets])
    }

    /// The program that was built together with these tests.
    func program(_ name: String) -> String {
        let folder = CommandLine.arguments[0].split(separator: "/").dropLast().joined(
            separator: "/"
        )
        return "/\(folder)/\(name)"
    }
}
