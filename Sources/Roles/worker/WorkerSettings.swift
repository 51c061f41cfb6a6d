import Database
import Etcd
import Glibc
import Logging
import Memcache
import Settings

/// What a worker is told.
struct WorkerSettings: Sendable {
    static let table: [Setting] = Setting.shared

    let values: SettingValues
    let postgresPassword: String?
    let etcdPassword: String?

    init(_ values: SettingValues) throws(SettingsError) {
        self.values = values
        postgresPassword = try Self.secret("postgres.password_file", values)
        etcdPassword = try Self.secret("etcd.password_file", values)
    }

    var metricsAddress: String { values.text("metrics.address") }
    var metricsPort: Int { values.integer("metrics.port") }
    var publicURL: String { values.text("public.url") }
    var mapCopy: String { values.text("map.cache_file") }
    var objects: String { values.text("objects.directory") }
    var pushThreshold: Int { values.integer("feed.push_threshold") }
    var idleDays: Int { values.integer("feed.idle_after_days") }
    var drain: Duration { .seconds(values.integer("drain.seconds")) }
    var logLevel: Logger.Level { Logger.Level(rawValue: values.text("log.level")) ?? .info }

    var loops: Int {
        let asked = values.integer("loops")
        return asked > 0 ? asked : max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    var database: DatabaseSettings {
        var settings = DatabaseSettings(
            user: values.text("postgres.user"),
            password: postgresPassword,
            applicationName: "tessera-worker"
        )
        // Fan-out writes to every shard at once, and a batch is under way on each of these.
        settings.writeConnections = 3
        settings.exclusiveConnections = 1
        return settings
    }

    var etcd: EtcdSettings {
        let user = values.text("etcd.user")
        return EtcdSettings(
            endpoints: values.list("etcd.endpoints"),
            user: user.isEmpty ? nil : user,
            password: etcdPassword
        )
    }

    var cachePools: [CachePool: CacheSlotMap] {
        [
            .feed: slots("cache.feed"),
            .object: slots("cache.object"),
            .session: slots("cache.session"),
        ]
    }

    private func slots(_ key: String) -> CacheSlotMap {
        CacheSlotMap(nodes: values.list(key).compactMap { CacheNode($0) })
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
