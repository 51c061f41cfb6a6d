extension Setting {
    private static let port = Kind.integer(0...65_535)

    /// What every process can be told, whatever its role.
    package static let process: [Setting] = [
        Setting("loops", .integer(0...256), default: "0", "Event loops; 0 is one per core."),
        Setting(
            "metrics.address",
            default: "127.0.0.1",
            "Where /metrics listens."
        ),
        Setting("metrics.port", port, default: "0", "Port of /metrics; 0 serves none."),
        Setting(
            "drain.seconds",
            .integer(0...600),
            default: "10",
            "How long what is under way may take after SIGTERM."
        ),
        Setting(
            "log.level",
            .choice(["trace", "debug", "info", "notice", "warning", "error", "critical"]),
            default: "info",
            "The least important lines that are written."
        ),
    ]

    /// What a process needs to find the catalog, which ``EtcdSettings`` reads.
    package static let catalog: [Setting] = [
        Setting(
            "etcd.endpoints",
            .list,
            default: "http://127.0.0.1:15079",
            "etcd's addresses, where the map is watched."
        ),
        Setting("etcd.user", default: "", "User of etcd; empty without authentication."),
        Setting("etcd.password_file", default: "", "File with that user's password."),
    ]

    /// What every process that serves users or their effects needs to find its shards, caches and objects.
    package static let shared: [Setting] =
        process + catalog + [
            Setting(
                "map.cache_file",
                default: "",
                "Where the map is kept for a start without etcd; empty keeps none."
            ),
            Setting("postgres.user", default: "app", "Role that this process has on every shard."),
            Setting("postgres.password_file", default: "", "File with that role's password."),
            Setting("cache.object", .list, default: "", "memcached nodes of the object pool."),
            Setting("cache.feed", .list, default: "", "memcached nodes of the feed pool."),
            Setting("cache.session", .list, default: "", "memcached nodes of the session pool."),
            Setting(
                "cache.gutter",
                .list,
                default: "",
                "memcached nodes that stand in for dead ones."
            ),
            Setting(
                "cache.client",
                .choice(["meta", "libmemcached"]),
                default: "meta",
                "How memcached is spoken to: meta protocol on the loops' sockets, or libmemcached."
            ),
            Setting(
                "bus.address",
                default: "",
                "NATS server that carries hints, as host:port; empty for none."
            ),
            Setting("bus.user", default: "", "User of the bus; empty without authentication."),
            Setting("bus.password_file", default: "", "File with that user's password."),
            Setting(
                "cache.held_milliseconds",
                .integer(0...5_000),
                default: "1000",
                "How long a process holds copies of very hot values of others; 0 holds none."
            ),
            Setting("objects.directory", default: "", "Directory of the media objects."),
            Setting(
                "public.url",
                default: "http://127.0.0.1:8080",
                "Where clients reach the cluster, without a final slash."
            ),
            Setting(
                "feed.push_threshold",
                .integer(0...1_000_000_000),
                default: "10000",
                "Followers above which an author's posts are merged when read instead of fanned out."
            ),
            Setting(
                "feed.idle_after_days",
                .integer(1...3_650),
                default: "14",
                "Days without a read after which a feed is no longer kept up to date."
            ),
        ]
}
