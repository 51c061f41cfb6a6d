import Etcd
import Glibc
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
        own + Setting.process.filter { !["loops", "drain.seconds"].contains($0.key) }
        + Setting.catalog + [
            Setting(
                "postgres.user",
                default: "mover",
                "The superuser of every shard; PostgreSQL 15 asks it for subscriptions."
            ),
            Setting("postgres.password_file", default: "", "File with that role's password."),
            // One thread waits for all: the work is PostgreSQL's.
            Setting("loops", .integer(1...1), default: "1", "Event loops; always 1."),
        ]

    let values: SettingValues
    let postgresPassword: String?
    let etcd: EtcdSettings

    init(_ values: SettingValues) throws(SettingsError) {
        self.values = values
        postgresPassword = try SecretFile.password(values.text("postgres.password_file"))
        etcd = try EtcdSettings(values)
    }

    var name: String {
        let given = values.text("coordinator.name")
        return given.isEmpty ? "\(Self.host)-\(getpid())" : given
    }

    var leaseSeconds: Int { values.integer("coordinator.lease_seconds") }

    private static var host: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "coordinator" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
