import Administration
import JSON
import Sharding

/// An effect that was given up, as `jobs.dead` of one shard has it.
struct DeadLetter {
    /// Of a reason, so many characters are shown in a list.
    private static let shownCharacters = 80

    let shard: ShardID
    let bucket: String
    let id: String
    let kind: String
    let version: String
    let payload: String
    let attempts: Int
    let createdAt: String
    let diedAt: String
    let reason: String

    /// The columns that ``init(shard:row:)`` expects.
    static let columns = """
        d.bucket, d.id, d.kind, d.version, d.payload::text, d.attempts,
        to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        to_char(d.died_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), d.reason
        """

    init(shard: ShardID, row: [String?]) {
        let cells = row.map { $0 ?? "" }
        self.shard = shard
        bucket = cells[0]
        id = cells[1]
        kind = cells[2]
        version = cells[3]
        payload = cells[4]
        attempts = Int(cells[5]) ?? 0
        createdAt = cells[6]
        diedAt = cells[7]
        reason = cells[8]
    }

    var shortReason: String {
        let line = String(reason.prefix { !$0.isNewline })
        guard line.count > Self.shownCharacters else { return line }
        return String(line.prefix(Self.shownCharacters)) + "…"
    }

    func write(to json: inout JSONWriter) {
        json.object { write(members: &$0) }
    }

    func write(members json: inout JSONWriter) {
        json.field("id", id)
        json.field("shard", shard.name)
        json.field("bucket", Int(bucket))
        json.field("kind", kind)
        json.field("version", Int(version))
        json.field("attempts", attempts)
        json.field("created_at", createdAt)
        json.field("died_at", diedAt)
        json.field("reason", reason)
        json.field("payload", payload)
    }
}

/// The dead letters of a cluster, shard by shard.
///
/// Of a bucket that is being copied both shards have the rows: only those of its owner count.
struct DeadLetters {
    /// Rows that one transaction puts back.
    private static let batch = 500

    /// What ``requeue(_:kind:)`` did, and could not do.
    struct Requeued {
        var requeued = 0
        /// Buckets whose fence refused: they are changing owners.
        var moving: [BucketID] = []
        var silent: [ShardID] = []
    }

    private let shards: [ShardRecord]
    private let secrets: ShardSecrets

    init(of cluster: Cluster) async throws {
        shards = try await cluster.map().shards
        secrets = try cluster.secrets()
    }

    static func names(_ shards: [ShardID]) -> String {
        shards.map(\.name).joined(separator: ", ")
    }

    // MARK: Looking

    /// The newest of all shards, how many there are, and the shards that did not answer.
    func newest(
        _ limit: Int,
        kind: String?
    ) throws -> (letters: [DeadLetter], count: Int, silent: [ShardID]) {
        var letters: [DeadLetter] = []
        var count = 0
        let silent = try eachShard { shard, session in
            let rows = try session.rows(
                """
                SELECT \(DeadLetter.columns), count(*) OVER ()
                FROM jobs.dead AS d
                JOIN control.bucket_owner AS o
                    ON o.bucket = d.bucket AND o.state IN ('own', 'fenced')
                WHERE d.kind = $1 OR $1 IS NULL
                ORDER BY d.died_at DESC, d.id DESC
                LIMIT \(limit)
                """,
                [kind]
            )
            count += rows.first?.last?.flatMap { Int($0) } ?? 0
            letters += rows.map { DeadLetter(shard: shard, row: $0) }
        }
        letters.sort { $0.diedAt > $1.diedAt }
        return (Array(letters.prefix(limit)), count, silent)
    }

    func find(_ id: Int64) throws -> (letter: DeadLetter?, silent: [ShardID]) {
        var found: DeadLetter?
        let silent = try eachShard { shard, session in
            let rows = try session.rows(
                """
                SELECT \(DeadLetter.columns)
                FROM jobs.dead AS d
                JOIN control.bucket_owner AS o
                    ON o.bucket = d.bucket AND o.state IN ('own', 'fenced')
                WHERE d.id = $1
                """,
                [String(id)]
            )
            if let row = rows.first { found = DeadLetter(shard: shard, row: row) }
        }
        return (found, silent)
    }

    // MARK: Putting back

    /// Puts the letters of these ids back, or those of a kind, or all; each bucket in fenced transactions.
    func requeue(_ ids: [Int64]?, kind: String?) throws -> Requeued {
        var result = Requeued()
        let list = ids.map { "{" + $0.map(String.init).joined(separator: ",") + "}" }
        result.silent = try eachShard { shard, session in
            let buckets = try session.rows(
                """
                SELECT d.bucket, o.epoch
                FROM jobs.dead AS d
                JOIN control.bucket_owner AS o
                    ON o.bucket = d.bucket AND o.state IN ('own', 'fenced')
                WHERE (d.kind = $1 OR $1 IS NULL)
                    AND ($2::bigint[] IS NULL OR d.id = ANY ($2::bigint[]))
                GROUP BY d.bucket, o.epoch
                ORDER BY d.bucket
                """,
                [kind, list]
            )
            for row in buckets {
                guard let bucket = row[0].flatMap({ Int($0) }).flatMap({ BucketID(rawValue: $0) }),
                    let epoch = row[1]
                else { continue }
                do {
                    var count = 0
                    repeat {
                        count = try putBack(bucket, epoch, list, kind, session)
                        result.requeued += count
                    } while count == Self.batch
                } catch let error as AdminError where error.sqlstate == "TF001" {
                    result.moving.append(bucket)
                }
            }
        }
        return result
    }

    private func putBack(
        _ bucket: BucketID,
        _ epoch: String,
        _ ids: String?,
        _ kind: String?,
        _ session: AdminSession
    ) throws -> Int {
        var count = 0
        try session.transaction {
            try session.rows(
                "SELECT control.fence(ARRAY[$1::smallint], ARRAY[$2::bigint])",
                [String(bucket.rawValue), epoch]
            )
            let back = try session.rows(
                """
                WITH chosen AS MATERIALIZED (
                    SELECT bucket, id
                    FROM jobs.dead
                    WHERE bucket = $1::smallint
                        AND (kind = $2 OR $2 IS NULL)
                        AND ($3::bigint[] IS NULL OR id = ANY ($3::bigint[]))
                    ORDER BY id
                    LIMIT \(Self.batch)
                    FOR UPDATE
                ), back AS (
                    DELETE FROM jobs.dead AS d
                    USING chosen AS c
                    WHERE d.bucket = c.bucket AND d.id = c.id
                    RETURNING d.bucket, d.id, d.kind, d.version, d.payload, d.traceparent,
                        d.created_at, d.reason
                )
                INSERT INTO jobs.outbox
                    (bucket, id, kind, version, payload, traceparent, created_at, last_error)
                SELECT bucket, id, kind, version, payload, traceparent, created_at, reason
                FROM back
                RETURNING id
                """,
                [String(bucket.rawValue), kind, ids]
            )
            count = back.count
        }
        return count
    }

    /// Runs `body` on each shard, with the worker's rights; gives the shards that do not answer.
    private func eachShard(_ body: (ShardID, AdminSession) throws -> Void) throws -> [ShardID] {
        var silent: [ShardID] = []
        for shard in shards {
            do {
                let setup = ShardSetup(shard: shard, secrets: secrets)
                try body(shard.id, setup.session(as: "worker", password: secrets.worker))
            } catch let error as AdminError where error.kind == .unreachable {
                silent.append(shard.id)
            } catch {
                throw Failure(error).at(shard.id)
            }
        }
        return silent
    }
}
