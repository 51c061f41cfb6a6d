import Administration
import ArgumentParser
import Etcd
import EventLoops
import Glibc
import Settings
import Sharding

/// Where the cluster is, and the secrets to enter it. Flags win over the environment, it over the file.
struct ClusterOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "YAML file with etcd.endpoints, etcd.user, etcd.password_file, secrets.directory.",
            valueName: "file"
        )
    )
    var config: String?

    @Option(
        name: .customLong("etcd"),
        help: ArgumentHelp(
            "Address of etcd, such as http://127.0.0.1:15079; repeatable.",
            valueName: "url"
        )
    )
    var etcd: [String] = []

    @Option(help: ArgumentHelp("User in etcd.", valueName: "name"))
    var etcdUser: String?

    @Option(help: ArgumentHelp("File with that user's password.", valueName: "file"))
    var etcdPasswordFile: String?

    @Option(
        help: ArgumentHelp(
            "Folder with the files postgres-mover, postgres-migrate, postgres-app, postgres-worker.",
            valueName: "folder"
        )
    )
    var secrets: String?

    @Option(
        help: ArgumentHelp(
            "File with the superuser's password, where it is not secrets/postgres-mover.",
            valueName: "file"
        )
    )
    var moverPasswordFile: String?

    private static let table: [Setting] = [
        Setting("etcd.endpoints", .list, default: "", "addresses of etcd"),
        Setting("etcd.user", default: "", "user in etcd"),
        Setting("etcd.password_file", default: "", "file with that user's password"),
        Setting(
            "secrets.directory",
            default: "",
            "folder with the passwords of PostgreSQL's roles"
        ),
        Setting("postgres.mover_password_file", default: "", "file with the superuser's password"),
    ]

    /// The flags, filled up from the environment and the file.
    func resolved() async throws -> Cluster {
        let values = try await SettingValues.load(
            Self.table,
            arguments: config.map { ["--config", $0] } ?? [],
            environment: environment()
        )
        let endpoints = etcd.isEmpty ? values.list("etcd.endpoints") : etcd
        guard !endpoints.isEmpty else {
            throw Failure(.usage, "say where etcd is: --etcd http://HOST:PORT, or --config FILE")
        }
        let user = etcdUser ?? values.text("etcd.user")
        let passwordFile = etcdPasswordFile ?? values.text("etcd.password_file")
        var settings = EtcdSettings(
            endpoints: endpoints,
            user: user.isEmpty ? nil : user,
            password: passwordFile.isEmpty ? nil : try secret(in: passwordFile)
        )
        // A person waits rather than runs it again.
        settings.timeout = .seconds(10)
        return Cluster(
            etcd: settings,
            secretsFolder: secrets ?? values.text("secrets.directory"),
            moverPasswordFile: moverPasswordFile ?? values.text("postgres.mover_password_file")
        )
    }

    private func environment() -> [String: String] {
        var variables: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let pair = String(cString: entry).split(separator: "=", maxSplits: 1)
            if pair.count == 2 { variables[String(pair[0])] = String(pair[1]) }
            next += 1
        }
        return variables
    }
}

/// A cluster that can be entered.
struct Cluster {
    let etcd: EtcdSettings
    let secretsFolder: String
    let moverPasswordFile: String

    /// The passwords of every role.
    func secrets() throws -> ShardSecrets {
        ShardSecrets(
            mover: try moverPassword(),
            migrate: try secret(in: "\(folder())/postgres-migrate"),
            app: try secret(in: "\(folder())/postgres-app"),
            worker: try secret(in: "\(folder())/postgres-worker")
        )
    }

    private func moverPassword() throws -> String {
        try secret(
            in: moverPasswordFile.isEmpty ? "\(folder())/postgres-mover" : moverPasswordFile
        )
    }

    private func folder() throws -> String {
        guard !secretsFolder.isEmpty else {
            throw Failure(.usage, "say where the passwords are: --secrets FOLDER")
        }
        return secretsFolder
    }

    /// Runs `body` with the map's store, on a loop of its own.
    func withMapStore<T: Sendable>(
        _ body: @escaping @Sendable (MapStore) async throws -> T
    ) async throws -> T {
        try await withEtcd { try await body(MapStore(etcd: $0)) }
    }

    /// Runs `body` with etcd, on a loop of its own.
    func withEtcd<T: Sendable>(
        _ body: @escaping @Sendable (EtcdClient) async throws -> T
    ) async throws -> T {
        let group = LoopGroup(count: 1, name: "etcd")
        let loop = group.loops[0]
        let settings = etcd
        let result: Result<T, any Error> = await withCheckedContinuation { done in
            loop.spawn {
                let client = EtcdClient(loop: loop, settings: settings)
                let result: Result<T, any Error>
                do {
                    result = .success(try await body(client))
                } catch {
                    result = .failure(error)
                }
                client.close()
                done.resume(returning: result)
            }
        }
        group.stopAndJoin()
        return try result.get()
    }

    /// The map, which must be there.
    func map() async throws -> ShardMap {
        let stored = try await withMapStore { try await $0.load() }
        guard let stored else {
            throw Failure(.conflict, "etcd holds no map yet; run shardctl init first")
        }
        return stored.map
    }
}

/// The one line of a file of a secret.
private func secret(in path: String) throws -> String {
    guard let file = fopen(path, "re") else {
        throw Failure(.usage, "cannot read \(path): \(String(cString: strerror(errno)))")
    }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 4_096)
    let count = fread(&bytes, 1, bytes.count, file)
    let line = bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }
    guard let text = String(validating: line, as: UTF8.self), !text.isEmpty else {
        throw Failure(.usage, "\(path) is empty")
    }
    return text
}

/// A command that is run with a cluster and reports failures by kind.
protocol ClusterCommand: AsyncParsableCommand {
    var cluster: ClusterOptions { get }
    var output: OutputOptions { get }

    func run(on cluster: Cluster) async throws
}

extension ClusterCommand {
    func run() async throws {
        do {
            try await run(on: cluster.resolved())
        } catch {
            let failure = Failure(error)
            output.report(failure)
            throw ExitCode(failure.kind.exitCode)
        }
    }
}
