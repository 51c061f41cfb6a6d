import Administration
import JSON
import Sharding

/// The counts of a cluster beside what they count, shard by shard.
///
/// Comparing and repairing are functions of each shard (`Counters/Migrations/m0002_reconcile.sql`), which the workers
/// use, too: both may run at the same time, and while users like and follow.
struct Recount {
    /// Subjects that one statement compares.
    private static let batch = 500

    /// A count that is wrong.
    struct Drift {
        let shard: ShardID
        let kind: String
        let subject: Int64
        let counted: Int
        let truth: Int
        var isRepaired = false

        func write(to json: inout JSONWriter) {
            json.object { json in
                json.field("id", String(subject))
                json.field("kind", kind)
                json.field("counted", counted)
                json.field("truth", truth)
                json.field("shard", shard.name)
                json.field("repaired", isRepaired)
            }
        }
    }

    struct Report {
        var checked = 0
        var drifts: [Drift] = []
        /// Buckets that were on their way to another shard.
        var moving: Set<BucketID> = []
        var silent: [ShardID] = []
    }

    /// A kind of count, by its number and its name.
    private struct Kind {
        let number: String
        let name: String
    }

    private let shards: [ShardRecord]
    private let secrets: ShardSecrets
    private let repairs: Bool

    init(of cluster: Cluster, repairs: Bool) async throws {
        shards = try await cluster.map().shards
        secrets = try cluster.secrets()
        self.repairs = repairs
    }

    /// Recounts these accounts and posts, or everything; `report` hears of each shard that is done.
    func run(_ subjects: [Int64]?, report: (ShardID, Report) -> Void) throws -> Report {
        var whole = Report()
        for shard in shards {
            do {
                let setup = ShardSetup(shard: shard, secrets: secrets)
                let session = try setup.session(as: "worker", password: secrets.worker)
                var part = Report()
                try recount(subjects, on: shard.id, session, &part)
                report(shard.id, part)
                whole.checked += part.checked
                whole.drifts += part.drifts
                whole.moving.formUnion(part.moving)
            } catch let error as AdminError where error.kind == .unreachable {
                whole.silent.append(shard.id)
            } catch {
                throw Failure(error).at(shard.id)
            }
        }
        return whole
    }

    private func recount(
        _ subjects: [Int64]?,
        on shard: ShardID,
        _ session: AdminSession,
        _ report: inout Report
    ) throws {
        let kinds = try session.rows("SELECT kind, name FROM counters.truth ORDER BY kind").map {
            Kind(number: $0[0] ?? "", name: $0[1] ?? "")
        }
        let owned = try session.rows(
            """
            SELECT bucket, epoch
            FROM control.bucket_owner
            WHERE state IN ('own', 'fenced')
            ORDER BY bucket
            """
        )
        for row in owned {
            guard let bucket = row[0].flatMap({ Int($0) }).flatMap({ BucketID(rawValue: $0) }),
                let epoch = row[1]
            else { continue }
            let place = Place(shard: shard, bucket: bucket, epoch: epoch, session: session)
            let asked = subjects?.filter { ($0 >> 6) & 1_023 == Int64(bucket.rawValue) }
            for kind in kinds where asked?.isEmpty != true {
                try recount(kind, asked, at: place, &report)
            }
        }
    }

    private struct Place {
        let shard: ShardID
        let bucket: BucketID
        let epoch: String
        let session: AdminSession
    }

    private func recount(
        _ kind: Kind,
        _ subjects: [Int64]?,
        at place: Place,
        _ report: inout Report
    ) throws {
        if let subjects {
            for subject in subjects {
                _ = try compare(kind, after: subject - 1, only: subject, at: place, &report)
            }
            return
        }
        var after: Int64? = 0
        while let from = after {
            after = try compare(kind, after: from, only: nil, at: place, &report)
        }
    }

    /// One statement's worth; gives where the next one begins.
    private func compare(
        _ kind: Kind,
        after: Int64,
        only: Int64?,
        at place: Place,
        _ report: inout Report
    ) throws -> Int64? {
        let rows = try place.session.rows(
            """
            SELECT subject, counted, truth, checked, last
            FROM counters.compare($1::smallint, $2::smallint, $3::bigint, $4::integer)
            """,
            [
                place.bucket.description, kind.number, String(after),
                String(only == nil ? Self.batch : 1),
            ]
        )
        if only != nil { report.checked += 1 }
        var last: Int64?
        for row in rows {
            guard let subject = row[0].flatMap({ Int64($0) }) else {
                last = row[4].flatMap { Int64($0) }
                if only == nil { report.checked += row[3].flatMap { Int($0) } ?? 0 }
                continue
            }
            guard only == nil || only == subject else { continue }
            var drift = Drift(
                shard: place.shard,
                kind: kind.name,
                subject: subject,
                counted: row[1].flatMap { Int($0) } ?? 0,
                truth: row[2].flatMap { Int($0) } ?? 0
            )
            if repairs { drift.isRepaired = try repair(drift, kind, at: place, &report) }
            report.drifts.append(drift)
        }
        return last
    }

    /// False where the bucket is on its way to another shard.
    private func repair(
        _ drift: Drift,
        _ kind: Kind,
        at place: Place,
        _ report: inout Report
    ) throws -> Bool {
        do {
            try place.session.transaction {
                try place.session.rows(
                    "SELECT control.fence(ARRAY[$1::smallint], ARRAY[$2::bigint])",
                    [place.bucket.description, place.epoch]
                )
                try place.session.rows(
                    "SELECT counted FROM counters.repair($1::smallint, $2::smallint, $3::bigint)",
                    [place.bucket.description, kind.number, String(drift.subject)]
                )
            }
            return true
        } catch let error as AdminError where error.sqlstate == "TF001" {
            report.moving.insert(place.bucket)
            return false
        }
    }
}
