internal import Administration
internal import Coordination
internal import Sharding

/// The owner rows of one shard.
struct OwnerRows {
    private let session: AdminSession

    init(_ session: AdminSession) {
        self.session = session
    }

    /// In the order of `buckets`; nil where there is no row.
    func rows(of buckets: [BucketID]) throws(AdminError) -> [OwnerRow?] {
        let all = try all("WHERE bucket = ANY ('{\(list(buckets))}')")
        return buckets.map { all[$0] }
    }

    /// The rows that a condition of ours picks.
    func all(_ condition: String = "") throws(AdminError) -> [BucketID: OwnerRow] {
        let rows = try session.rows(
            "SELECT bucket, state, epoch, attempt, next_shard FROM control.bucket_owner \(condition)"
        )
        var owners: [BucketID: OwnerRow] = [:]
        for row in rows {
            guard let bucket = row[0].flatMap({ Int($0) }).flatMap({ BucketID(rawValue: $0) }),
                let state = row[1].flatMap({ OwnerRow.State(rawValue: $0) }),
                let epoch = row[2].flatMap({ Int64($0) })
            else { continue }
            owners[bucket] = OwnerRow(
                state: state,
                epoch: Epoch(rawValue: epoch),
                attempt: row[3],
                next: row[4].flatMap { ShardID($0) }
            )
        }
        return owners
    }
}

/// Rows of buckets that a shard should have none of.
struct OrphanRows {
    private let session: AdminSession

    init(_ session: AdminSession) {
        self.session = session
    }

    /// The tables that have a row of one of these buckets.
    func tables(with buckets: [BucketID]) throws(AdminError) -> [String] {
        guard !buckets.isEmpty else { return [] }
        let looks = try BucketTable.all(session).map { table in
            "SELECT '\(table.name)' WHERE EXISTS "
                + "(SELECT FROM \(table.name) WHERE bucket = ANY ('{\(list(buckets))}'::smallint[]))"
        }
        guard !looks.isEmpty else { return [] }
        return try session.rows(looks.joined(separator: " UNION ALL ")).compactMap(\.[0])
    }
}

/// Buckets between commas.
func list(_ buckets: [BucketID]) -> String {
    buckets.map(\.description).joined(separator: ",")
}
