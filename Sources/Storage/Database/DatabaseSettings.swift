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

    func pool(for shard: ShardRecord) -> PostgresSettings {
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
        adjust(&settings)
        return settings
    }
}
