import Coordination
import Etcd
import Glibc
import Movement
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
            default: "3600",
            "How long the old owner is kept up to date for a rollback; 0 cleans it up at once."
        ),
        Setting(
            "moves.retained_per_shard",
            .integer(1...64),
            default: "2",
            "Moves of a shard that can be rolled back at a time, the newest: each holds a slot and a worker."
        ),
    ]

    static let table: [Setting] =
        own + Setting.process.filter { !["loops", "drain.seconds"].contains($0.key) }
        + Setting.catalog + [
            Setting("postgres.password_file", default: "", "File with the password of role mover."),
            // One thread waits for all: the work is PostgreSQL's.
            Setting("loops", .integer(1...1), default: "1", "Event loops; always 1."),
        ]

    let etcd: EtcdSettings
    private let values: SettingValues
    private let moverPassword: String

    init(_ values: SettingValues) throws(SettingsError) {
        self.values = values
        moverPassword = try SecretFile.password(values.text("postgres.password_file")) ?? ""
        etcd = try EtcdSettings(values)
    }

    var name: String {
        let given = values.text("coordinator.name")
        return given.isEmpty ? "\(Self.host)-\(getpid())" : given
    }

    var limits: MoveLimits {
        MoveLimits(
            perSource: values.integer("moves.per_source"),
            perTarget: values.integer("moves.per_target")
        )
    }

    var retainedPerShard: Int { values.integer("moves.retained_per_shard") }

    var policy: MovePolicy {
        var policy = MovePolicy()
        policy.retention = .seconds(values.integer("moves.retention_seconds"))
        policy.keepsReverse = policy.retention > .zero
        return policy
    }

    var driver: MoveDriverSettings {
        var settings = MoveDriverSettings(password: moverPassword)
        let megabytes = values.integer("moves.megabytes_per_second")
        settings.copyBytesPerSecond = megabytes == 0 ? nil : Int64(megabytes) * 1_000_000
        return settings
    }

    private static var host: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "coordinator" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
