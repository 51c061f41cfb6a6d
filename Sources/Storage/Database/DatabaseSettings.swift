package import Postgres
internal import Sharding

/// How a process reaches the shards that the map names.
package struct DatabaseSettings: Sendable {
    package var user: String
    package var password: String?
    package var applicationName: String

    /// Connections of each loop to each shard.
    package var readConnections = 1
    package var writeConnections = 2
    package var exclusiveConnections = 2

    /// How long a request whose bucket has no owner is held. Well within the time that an HTTP request may take.
    package var refusalDeadline = Duration.seconds(5)

    /// The longest pause between two looks at a bucket that has no owner.
    package var refusalPause = Duration.milliseconds(20)

    /// Requests that may be held at once on one loop; further ones fail at once.
    package var refusedLimit = 1_024

    /// Other settings of each pool.
    package var adjust: @Sendable (inout PostgresSettings) -> Void = { _ in }

    package init(user: String, password: String?, applicationName: String = "tessera") {
        self.user = user
        self.password = password
        self.applicationName = applicationName
    }

    package var connectionsPerShard: Int {
        readConnections + writeConnections + exclusiveConnections
    }

    /// Of a shard of that cluster; its database must say so where both know.
    func pool(for shard: ShardRecord, of cluster: ClusterID?) -> PostgresSettings {
        var settings = PostgresSettings(
            hosts: shard.members.map { .init(name: $0.host, port: UInt16($0.port)) },
            database: shard.database,
            user: user,
            password: password,
            applicationName: applicationName
        )
        settings.readConnections = readConnections
        settings.writeConnections = writeConnections
        settings.exclusiveConnections = exclusiveConnections
        let id = shard.id
        // As JSON, since a schema of before lacks the column.
        settings.identityCheck = IdentityCheck(
            query: "SELECT id, to_jsonb(s) ->> 'cluster' FROM control.shard AS s"
        ) { row in Self.objection(to: row, as: id, of: cluster) }
        adjust(&settings)
        return settings
    }

    private static func objection(
        to row: [String?],
        as shard: ShardID,
        of cluster: ClusterID?
    ) -> String? {
        if let cluster, let other = row[1], other != cluster.text {
            return
                "the database belongs to another Tessera (cluster \(other.prefix(8)), this is \(cluster))"
        }
        guard let name = row[0], name != shard.name else { return nil }
        return "the database says that it is shard \(name), not \(shard)"
    }
}
