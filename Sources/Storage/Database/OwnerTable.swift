package import Postgres
package import Sharding

/// What a shard says about a bucket, in its own database.
package enum OwnerState: String, Sendable, CaseIterable {
    case own, fenced, released, incoming, gone

    /// Whether the bucket's rows here are those that an answer is made of.
    package var isReadable: Bool { self == .own || self == .fenced }
}

/// All owner rows of one shard as they were at one version of `control.ownership`.
package struct OwnerTable: Sendable {
    package struct Owner: Equatable, Sendable {
        package let state: OwnerState
        package let epoch: Epoch
        /// Who to ask instead, where the shard knows.
        package let next: ShardID?

        package init(state: OwnerState, epoch: Epoch, next: ShardID? = nil) {
            self.state = state
            self.epoch = epoch
            self.next = next
        }
    }

    package let version: Int64
    private var owners: [Owner?]

    package init(version: Int64, owners: [BucketID: Owner]) {
        self.version = version
        self.owners = BucketID.all.map { owners[$0] }
    }

    package subscript(bucket: BucketID) -> Owner? { owners[Int(bucket.rawValue)] }

    /// Whether what was read here with `epoch` in mind is the bucket's data.
    ///
    /// The epoch matters although the bucket is here: a reader with an older one may have been here while the rows
    /// were still being copied.
    package func isReadable(_ bucket: BucketID, at epoch: Epoch) -> Bool {
        guard let owner = self[bucket] else { return false }
        return owner.state.isReadable && owner.epoch == epoch
    }
}

extension OwnerTable: RowDecodable {
    /// Runs behind the reads of a sync: see `m0004_ownership.sql`.
    static let check: SQL = "SELECT version FROM control.ownership"

    /// One row from one snapshot.
    static let query: SQL = """
        SELECT (SELECT version FROM control.ownership), array_agg(bucket), array_agg(epoch),
            array_agg(state), array_agg(next_shard)
        FROM control.bucket_owner
        """

    static func query(of bucket: BucketID) -> SQL {
        "SELECT epoch, state, next_shard FROM control.bucket_owner WHERE bucket = \(bucket)"
    }

    package init(row: inout Row) throws(DatabaseError) {
        version = try row.next()
        let buckets: [Int16] = try row.next([Int16]?.self) ?? []
        let epochs: [Int64] = try row.next([Int64]?.self) ?? []
        let states: [String] = try row.next([String]?.self) ?? []
        let next: [String?] = try row.next([String?]?.self) ?? []
        owners = Array(repeating: nil, count: BucketID.count)
        for index in buckets.indices {
            guard let bucket = BucketID(rawValue: buckets[index]),
                let state = OwnerState(rawValue: states[index])
            else { throw .decoding("bucket \(buckets[index]) is in state \(states[index])") }
            owners[Int(bucket.rawValue)] = Owner(
                state: state,
                epoch: Epoch(rawValue: epochs[index]),
                next: next[index].flatMap { ShardID($0) }
            )
        }
    }
}

extension OwnerTable.Owner: RowDecodable {
    package init(row: inout Row) throws(DatabaseError) {
        epoch = Epoch(rawValue: try row.next())
        let name: String = try row.next()
        guard let state = OwnerState(rawValue: name) else {
            throw .decoding("an owner row is in state \(name)")
        }
        self.state = state
        next = try row.next(String?.self).flatMap { ShardID($0) }
    }
}
