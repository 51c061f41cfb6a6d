import Sharding

/// What a server that shall become a shard says of itself before anything on it is changed.
package struct ShardFacts: Sendable, Equatable {
    /// As `server_version_num`: 150004 is 15.4.
    package var versionNumber: Int
    package var isSuperuser: Bool
    package var isPrimary: Bool
    package var walLevel: String
    package var slots: Use
    package var senders: Use
    package var replicationWorkers: Int
    package var encoding: String
    package var unsafeSettings: [String]

    /// Of the file system that holds the data; nil where the server cannot tell.
    package var freeDiskBytes: Int64?

    /// Nil for a database that does not exist, or was never set up.
    package var identity: String?
    package var cluster: ClusterID?
    package var ownedBuckets: Int
    package var migrations: [MigrationPlan.Record]

    /// Tables that are not this product's.
    package var strangeTables: Int

    /// How many of something there may be, and how many there are.
    package struct Use: Sendable, Equatable {
        package var used: Int
        package var limit: Int

        package init(used: Int, limit: Int) {
            self.used = used
            self.limit = limit
        }

        package var free: Int { max(0, limit - used) }
    }

    package init(
        versionNumber: Int,
        isSuperuser: Bool,
        isPrimary: Bool,
        walLevel: String,
        slots: Use,
        senders: Use,
        replicationWorkers: Int,
        encoding: String,
        unsafeSettings: [String],
        freeDiskBytes: Int64?,
        identity: String?,
        ownedBuckets: Int,
        migrations: [MigrationPlan.Record],
        strangeTables: Int
    ) {
        self.versionNumber = versionNumber
        self.isSuperuser = isSuperuser
        self.isPrimary = isPrimary
        self.walLevel = walLevel
        self.slots = slots
        self.senders = senders
        self.replicationWorkers = replicationWorkers
        self.encoding = encoding
        self.unsafeSettings = unsafeSettings
        self.freeDiskBytes = freeDiskBytes
        self.identity = identity
        cluster = nil
        self.ownedBuckets = ownedBuckets
        self.migrations = migrations
        self.strangeTables = strangeTables
    }
}

/// Whether a server may become a shard, decided from what it says of itself.
package enum ShardFitness {
    /// The oldest that can filter the rows of a stream.
    package static let oldestVersion = 150_000

    /// One for a move, one for its reverse stream, one to spare.
    package static let slotsWanted = 3

    /// A server with less free disk is refused whatever it shall carry.
    package static let diskWanted: Int64 = 1 << 30

    /// What keeps the server from being shard `id`, each with what to do about it; empty when nothing does.
    ///
    /// `expectedBytes` is what the shard will be given, of which twice as much must fit; a new one has no data yet.
    package static func objections(
        to facts: ShardFacts,
        as id: ShardID,
        of cluster: ClusterID? = nil,
        isNew: Bool,
        expectedBytes: Int64
    ) -> [String] {
        var found: [String] = []
        if facts.versionNumber < oldestVersion {
            let version = "\(facts.versionNumber / 10_000).\(facts.versionNumber % 10_000)"
            found.append("it is PostgreSQL \(version): give a server of version 15 or later")
        }
        if !facts.isPrimary { found.append("it is a standby: give the address of its primary") }
        if !facts.isSuperuser {
            found.append("role mover is not a superuser there: ALTER ROLE mover SUPERUSER")
        }
        if facts.walLevel != "logical" {
            found.append(
                "its wal_level is \(facts.walLevel): set wal_level = logical and restart it"
            )
        }
        found += room(facts)
        let wanted = max(diskWanted, expectedBytes * 2)
        if let free = facts.freeDiskBytes, free < wanted {
            found.append(
                "its disk has \(megabytes(free)) free, and \(megabytes(wanted)) are wanted: "
                    + "free some, or give a larger disk"
            )
        }
        if facts.encoding != "UTF8" {
            found.append("its databases are \(facts.encoding): initdb --encoding=UTF8")
        }
        found += facts.unsafeSettings.map {
            "\($0) is off, so that acknowledged writes may be lost: turn it on"
        }
        if let cluster, let other = facts.cluster, other != cluster {
            return found + [
                "its database is shard \(facts.identity ?? "?") of another Tessera (cluster \(other), this is "
                    + "\(cluster)): "
                    + (isNew ? Self.otherServer : "correct the address with shardctl map import")
            ]
        }
        return found + (isNew ? newData(facts, id) : knownData(facts, id))
    }

    private static func room(_ facts: ShardFacts) -> [String] {
        var found: [String] = []
        for (name, use) in [
            ("max_replication_slots", facts.slots), ("max_wal_senders", facts.senders),
        ] where use.free < slotsWanted {
            found.append(
                "\(use.used) of \(name) = \(use.limit) are in use, and \(slotsWanted) must be free: "
                    + "raise it and restart the server"
            )
        }
        if facts.replicationWorkers < slotsWanted {
            found.append(
                "max_logical_replication_workers = \(facts.replicationWorkers): set it to "
                    + "\(slotsWanted) or more, below max_worker_processes, and restart the server"
            )
        }
        return found
    }

    private static func knownData(_ facts: ShardFacts, _ id: ShardID) -> [String] {
        guard let identity = facts.identity else {
            return ["its database was never set up: restore it, or shardctl shard add"]
        }
        return identity == id.name ? [] : ["its database says that it is shard \(identity)"]
    }

    private static let otherServer = "give an empty server, or another --database"

    private static func newData(_ facts: ShardFacts, _ id: ShardID) -> [String] {
        let empty = Self.otherServer
        guard let identity = facts.identity else {
            return facts.strangeTables == 0
                ? [] : ["its database has \(facts.strangeTables) tables of somebody else: \(empty)"]
        }
        if identity != id.name {
            return ["its database says that it is shard \(identity) of some cluster: \(empty)"]
        }
        // An addition that stopped half-way left a shard of this name which owns nothing.
        return facts.ownedBuckets == 0
            ? []
            : [
                "its database owns \(facts.ownedBuckets) buckets of another cluster's map: \(empty)"
            ]
    }

    /// What keeps a shard with these migrations from working beside the others; `files` are this version's.
    package static func schemaObjections(
        _ recorded: [MigrationPlan.Record],
        files: [MigrationFile]
    ) -> [String] {
        do {
            _ = try MigrationPlan.pending(files, recorded: recorded)
        } catch {
            return ["its schema is another one: \(error)"]
        }
        let known = Set(files.map { "\($0.module)/\($0.number)" })
        let modules = Set(files.map(\.module))
        let strange = recorded.filter {
            modules.contains($0.module) && !known.contains("\($0.module)/\($0.number)")
        }
        guard let first = strange.first else { return [] }
        return [
            "its schema is newer than this version's (\(first.label) and \(strange.count - 1) more): "
                + "use the version that made it"
        ]
    }
}

/// A number of bytes for people, such as `1.5 GB`.
package func megabytes(_ bytes: Int64) -> String {
    let steps: [(Double, String)] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")]
    for (size, unit) in steps where Double(bytes) >= size {
        let tenths = Int((Double(bytes) / size * 10).rounded())
        return tenths >= 1_000
            ? "\((tenths + 5) / 10) \(unit)" : "\(tenths / 10).\(tenths % 10) \(unit)"
    }
    return "\(bytes) B"
}
