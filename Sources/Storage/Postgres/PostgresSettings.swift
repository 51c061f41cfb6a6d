/// How a pool reaches one shard, and its bounds.
package struct PostgresSettings: Sendable {
    package struct Host: Hashable, Sendable {
        /// A numeric address, a name, or the folder of a Unix socket.
        package var name: String
        package var port: UInt16

        package init(name: String, port: UInt16 = 5432) {
            self.name = name
            self.port = port
        }
    }

    /// The members of the shard; the first that accepts writes is used.
    package var hosts: [Host]
    package var database: String
    package var user: String
    package var password: String?
    package var applicationName: String
    package var tls = "prefer"

    /// Connections per loop, made when first needed and kept.
    package var readConnections = 1
    package var writeConnections = 2
    package var exclusiveConnections = 2

    /// How long one statement may run on the server.
    package var statementTimeout = Duration.seconds(5)
    /// How much longer a caller waits for the answer before it gets ``DatabaseError/timeout``.
    package var answerGrace = Duration.seconds(1)
    /// How long a caller waits for a connection.
    package var acquireTimeout = Duration.seconds(2)
    /// How long one host may take to accept a connection.
    package var connectTimeout = Duration.seconds(3)
    /// How long a transaction may stay idle between two statements.
    package var idleInTransactionTimeout = Duration.seconds(10)
    /// The bounds of the wait before a host that failed is tried again.
    package var backoff = Duration.milliseconds(50)...Duration.seconds(2)

    /// Callers that may wait in each lane; further ones get ``DatabaseError/overloaded``.
    package var queueLimit = 8_192
    /// The most reads that share one sync.
    package var readsPerSync = 16
    /// Answers one bigint behind the reads of a sync, for those that ask for it; see
    /// ``PostgresPool/checkedRead(_:)``.
    package var readCheck: SQL?
    /// Reads on the wire of one connection.
    package var readsInFlight = 512
    /// Prepared statements kept on each connection.
    package var statementCacheLimit = 256
    /// Bytes that one row of COPY input or output may buffer in a connection.
    package var copyBufferBytes = 1 << 20

    /// Asked of each new connection before anything else is sent on it.
    package var identityCheck: IdentityCheck?

    /// What the server and the connections have to say; for the log.
    package var onEvent: (@Sendable (PostgresEvent) -> Void)?

    package init(
        hosts: [Host],
        database: String,
        user: String,
        password: String? = nil,
        applicationName: String = "tessera"
    ) {
        precondition(!hosts.isEmpty)
        self.hosts = hosts
        self.database = database
        self.user = user
        self.password = password
        self.applicationName = applicationName
    }
}

/// How a connection finds out that it has reached the server which it was meant for.
package struct IdentityCheck: Sendable {
    /// Without parameters.
    package let query: String
    /// Why a server with this first row is the wrong one; nil for the right one.
    package let objection: @Sendable ([String?]) -> String?

    package init(query: String, objection: @escaping @Sendable ([String?]) -> String?) {
        self.query = query
        self.objection = objection
    }
}

/// Something for the log.
package enum PostgresEvent: Sendable {
    case connected(host: String, port: UInt16)
    case connectFailed(host: String, port: UInt16, reason: String)
    case lost(reason: String)
    /// A NOTICE or WARNING of the server.
    case notice(severity: String, message: String)
    /// A statement that the server refused.
    case refused(sqlstate: String, message: String)
}
