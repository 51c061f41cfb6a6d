import Etcd
import Glibc
import Logging
import Settings

/// What a coordinator is told.
struct CoordinatorSettings: Sendable {
    private static let own: [Setting] = [
        Setting(
            "coordinator.name",
            default: "",
            "Its name among the coordinators; empty takes host and process."
        ),
        Setting(
            "coordinator.lease_seconds",
            .integer(2...60),
            default: "5",
            "How long after a leader's death a stand-by takes over."
        ),
        Setting(
            "moves.per_source",
            .integer(1...8),
            default: "1",
            "Moves at a time that one shard gives buckets to."
        ),
        Setting(
            "moves.per_target",
            .integer(1...8),
            default: "1",
            "Moves at a time that one shard takes buckets from."
        ),
        Setting(
            "moves.megabytes_per_second",
            .integer(0...100_000),
            default: "0",
            "Bytes that each move may copy in a second, in millions; 0 is as fast as it goes."
        ),
        Setting(
            "moves.retention_seconds",
            .integer(0...2_592_000),
            default: "0",
            "How long the old owner is kept up to date for a rollback; 0 cleans it up at once."
        ),
    ]

    static let table: [Setting] =
        own
        + Setting.shared.filter { setting in
            ["metrics.", "etcd.", "drain.", "log."].contains { setting.key.hasPrefix($0) }
        } + [
            Setting(
                "postgres.user",
                default: "mover",
                "The superuser of every shard; PostgreSQL 15 asks it for subscriptions."
            ),
            Setting("postgres.password_file", default: "", "File with that role's password."),
        ]

    let values: SettingValues
    let postgresPassword: String?
    let etcdPassword: String?

    init(_ values: SettingValues) throws(SettingsError) {
        self.values = values
        postgresPassword = try Self.secret("postgres.password_file", values)
        etcdPassword = try Self.secret("etcd.password_file", values)
    }

    var name: String {
        let given = values.text("coordinator.name")
        return given.isEmpty ? "\(Self.host)-\(getpid())" : given
    }

    var leaseSeconds: Int { values.integer("coordinator.lease_seconds") }
    var metricsAddress: String { values.text("metrics.address") }
    var metricsPort: Int { values.integer("metrics.port") }
    var drain: Duration { .seconds(values.integer("drain.seconds")) }
    var logLevel: Logger.Level { Logger.Level(rawValue: values.text("log.level")) ?? .info }

    var etcd: EtcdSettings {
        let user = values.text("etcd.user")
        return EtcdSettings(
            endpoints: values.list("etcd.endpoints"),
            user: user.isEmpty ? nil : user,
            password: etcdPassword
        )
    }

    private static var host: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "coordinator" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// The first line of the file that a setting names; nil where it names none.
    private static func secret(
        _ key: String,
        _ values: SettingValues
    ) throws(SettingsError) -> String? {
        let path = values.text(key)
        guard !path.isEmpty else { return nil }
        guard let file = fopen(path, "re") else {
            throw SettingsError("\(key): \(path) cannot be opened")
        }
        defer { fclose(file) }
        var buffer = [CChar](repeating: 0, count: 1_024)
        guard fgets(&buffer, Int32(buffer.count), file) != nil else {
            throw SettingsError("\(key): \(path) is empty")
        }
        let bytes = buffer.prefix { $0 != 0 && $0 != 10 && $0 != 13 }.map(UInt8.init(bitPattern:))
        return String(decoding: bytes, as: UTF8.self)
    }
}
