import Bus
import Database
import Etcd
import Memcache
import Settings
import Sharding

/// What a worker is told.
struct WorkerSettings: Sendable {
    static let table: [Setting] =
        Setting.shared + [
            Setting(
                "counters.recount_percent",
                .integer(0...100),
                default: "2",
                "Share of each loop's time that goes into recounting; 0 for never."
            ),
            Setting(
                "interactions.keep_days",
                .integer(1...30),
                default: "7",
                "Days after which the interactions of a day leave the shards."
            ),
        ]

    let values: SettingValues
    let postgresPassword: String?
    let etcd: EtcdSettings
    let bus: BusSettings?

    init(_ values: SettingValues) throws(SettingsError) {
        self.values = values
        postgresPassword = try SecretFile.password(values.text("postgres.password_file"))
        etcd = try EtcdSettings(values)
        bus = try BusSettings(values)
    }

    var publicURL: String { values.text("public.url") }
    var mapCopy: String { values.text("map.cache_file") }
    var objects: String { values.text("objects.directory") }
    var pushThreshold: Int { values.integer("feed.push_threshold") }
    var idleDays: Int { values.integer("feed.idle_after_days") }
    var recountPercent: Int { values.integer("counters.recount_percent") }
    var interactionDays: Int { values.integer("interactions.keep_days") }
    var drain: Duration { .seconds(values.integer("drain.seconds")) }

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

    var cachePools: [CachePool: PoolMap] {
        [
            .feed: slots("cache.feed"),
            .object: slots("cache.object"),
            .session: slots("cache.session"),
            .gutter: slots("cache.gutter"),
        ]
    }

    var cache: CacheSettings { CacheSettings(values) }

    private func slots(_ key: String) -> PoolMap {
        PoolMap(nodes: values.list(key).compactMap { CacheNode($0) })
    }
}
