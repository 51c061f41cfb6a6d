import Sharding

/// What an operator wants to know of one shard, as its own database tells it.
package struct ShardInspection: Sendable {
    package let identity: String?
    package let cluster: ClusterID?
    package let version: String
    package let isPrimary: Bool
    package let connections: Int
    package let maxConnections: Int

    /// Rows of `control.bucket_owner` by bucket.
    package let owners: [BucketID: Owner]
    package let migrations: [MigrationPlan.Record]

    /// How far the shard's ids are ahead of its wall clock.
    package let clockAheadMilliseconds: Int64

    /// Settings that must be on for an acknowledged write to be durable, and are not.
    package let unsafeSettings: [String]

    package struct Owner: Sendable, Equatable {
        package let epoch: Epoch
        package let state: String
        package let nextShard: String?

        package init(epoch: Epoch, state: String, nextShard: String? = nil) {
            self.epoch = epoch
            self.state = state
            self.nextShard = nextShard
        }
    }

    package init(_ session: AdminSession) throws(AdminError) {
        let server = try session.rows(
            """
            SELECT current_setting('server_version'), (NOT pg_is_in_recovery())::text,
                current_setting('max_connections'),
                (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
            """
        )[0]
        version = server[0] ?? "?"
        isPrimary = server[1] == "true"
        maxConnections = server[2].flatMap { Int($0) } ?? 0
        connections = server[3].flatMap { Int($0) } ?? 0
        unsafeSettings = try session.rows(
            """
            SELECT name FROM pg_settings
            WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
            ORDER BY name
            """
        ).compactMap(\.first).compactMap { $0 }

        guard try session.value("SELECT to_regclass('control.clock')::text") != nil else {
            (identity, cluster) = (nil, nil)
            owners = [:]
            migrations = []
            clockAheadMilliseconds = 0
            return
        }
        let who = try session.identity()
        (identity, cluster) = (who?.shard, who?.cluster)
        owners = try Self.owners(session)
        migrations = try Migrator(session: session).recorded()
        let ahead = try session.value(
            """
            SELECT (last_value >> 6) - floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
            FROM control.clock
            """
        )
        clockAheadMilliseconds = max(0, ahead.flatMap { Int64($0) } ?? 0)
    }

    private static func owners(_ session: AdminSession) throws(AdminError) -> [BucketID: Owner] {
        let rows = try session.rows(
            "SELECT bucket, epoch, state, next_shard FROM control.bucket_owner"
        )
        var owners: [BucketID: Owner] = [:]
        for row in rows {
            guard let bucket = row[0].flatMap({ Int($0) }).flatMap({ BucketID(rawValue: $0) }),
                let epoch = row[1].flatMap({ Int64($0) }), let state = row[2]
            else { continue }
            owners[bucket] = Owner(
                epoch: Epoch(rawValue: epoch),
                state: state,
                nextShard: row[3]
            )
        }
        return owners
    }

    package func count(inState state: String) -> Int {
        owners.values.reduce(0) { $0 + ($1.state == state ? 1 : 0) }
    }
}

/// What is wrong with a cluster, found by comparing the map with what each shard says.
package struct ClusterFinding: Sendable, Equatable {
    package let shard: ShardID?
    package let what: String

    package init(shard: ShardID?, what: String) {
        self.shard = shard
        self.what = what
    }

    /// Ids further ahead than this come from a wall clock that was wrong.
    package static let clockAheadLimit: Int64 = 60_000

    /// Share of a server's connections above which it is called full.
    package static let connectionShare = 0.9

    /// All findings, in order of the shards. A shard that was not reached is nil in `inspections`; buckets that are
    /// `moving` may be owned by either side of their move.
    package static func all(
        map: ShardMap,
        inspections: [ShardID: ShardInspection?],
        moving: Set<BucketID> = []
    ) -> [ClusterFinding] {
        var findings: [ClusterFinding] = []
        let newest = Set(
            inspections.values.compactMap { $0 }.flatMap { $0.migrations.map(\.label) }
        )
        for shard in map.shards {
            guard let seen = inspections[shard.id] ?? nil else {
                findings.append(.init(shard: shard.id, what: "does not answer"))
                continue
            }
            findings += problems(of: shard, seen, in: map, newest: newest)
        }
        return findings + problems(ofOwnersIn: map, inspections, moving)
    }

    private static func problems(
        of shard: ShardRecord,
        _ seen: ShardInspection,
        in map: ShardMap,
        newest: Set<String>
    ) -> [ClusterFinding] {
        var what: [String] = []
        if let ours = map.cluster, let theirs = seen.cluster, ours != theirs {
            what.append(
                "its database belongs to another Tessera (cluster \(theirs), this is \(ours))"
            )
        }
        if seen.identity != shard.id.name {
            what.append(
                seen.identity.map { "its database says that it is shard \($0)" }
                    ?? "its database was never set up"
            )
        }
        if !seen.isPrimary { what.append("its first address is a standby") }
        let missing = newest.subtracting(seen.migrations.map(\.label)).count
        if missing > 0 { what.append("\(missing) migrations ran elsewhere and not here") }
        if seen.clockAheadMilliseconds > clockAheadLimit {
            what.append("its ids are \(seen.clockAheadMilliseconds / 1_000) s ahead of its clock")
        }
        if Double(seen.connections) > connectionShare * Double(seen.maxConnections) {
            what.append("\(seen.connections) of \(seen.maxConnections) connections are in use")
        }
        what += seen.unsafeSettings.map { "\($0) is off: acknowledged writes may be lost" }
        return what.map { ClusterFinding(shard: shard.id, what: $0) }
    }

    /// Every bucket must be owned by exactly the shard and epoch that the map names.
    private static func problems(
        ofOwnersIn map: ShardMap,
        _ inspections: [ShardID: ShardInspection?],
        _ moving: Set<BucketID>
    ) -> [ClusterFinding] {
        var disagreeing: [ShardID: Int] = [:]
        var between: [ShardID: Int] = [:]
        var doubled = 0
        for bucket in BucketID.all {
            let owners = map.shards.filter {
                (inspections[$0.id] ?? nil)?.owners[bucket]?.state == "own"
            }
            if owners.count > 1 { doubled += 1 }
            guard !moving.contains(bucket) else { continue }
            let entry = map[bucket]
            guard let seen = inspections[entry.shard] ?? nil else { continue }
            switch seen.owners[bucket] {
            case let owner? where owner.state == "own" && owner.epoch == entry.epoch: continue
            case let owner? where ["fenced", "released", "incoming"].contains(owner.state):
                between[entry.shard, default: 0] += 1
            default: disagreeing[entry.shard, default: 0] += 1
            }
        }
        var findings: [ClusterFinding] = []
        if doubled > 0 {
            findings.append(.init(shard: nil, what: "\(doubled) buckets have more than one owner"))
        }
        for (shard, count) in disagreeing.sorted(by: { $0.key < $1.key }) {
            findings.append(
                .init(shard: shard, what: "it does not own \(count) buckets that the map gives it")
            )
        }
        for (shard, count) in between.sorted(by: { $0.key < $1.key }) {
            findings.append(.init(shard: shard, what: "\(count) buckets are between two owners"))
        }
        return findings
    }
}

extension MigrationPlan.Record {
    var label: String { "\(module)/\(name)" }
}
