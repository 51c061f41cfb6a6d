import Sharding

/// How much each bucket of a shard weighs, estimated from its tables.
///
/// Small tables are counted; large ones are sampled by whole pages, always the same ones as long as the table
/// does not change, so that a plan made twice is the same plan.
package struct BucketMeasure {
    /// Rows that are looked at in one table.
    package static let sampleRows = 200_000

    package struct Size: Sendable, Equatable {
        package var bytes: Int64
        package var rows: Int64

        package init(bytes: Int64, rows: Int64) {
            self.bytes = bytes
            self.rows = rows
        }
    }

    private let session: AdminSession

    package init(session: AdminSession) {
        self.session = session
    }

    /// Bytes (with indexes) and rows of each bucket that has any.
    package func sizes() throws(AdminError) -> [BucketID: Size] {
        var sizes: [BucketID: Size] = [:]
        for table in try tables() {
            var rows: [BucketID: Int64] = [:]
            for row in try session.rows(count(in: table)) {
                guard let bucket = row[0].flatMap({ Int($0) }).flatMap({ BucketID(rawValue: $0) }),
                    let count = row[1].flatMap({ Int64($0) })
                else { continue }
                rows[bucket] = count
            }
            let total = max(1, rows.values.reduce(0, +))
            let scale = table.isSampled ? max(1, Double(table.rows) / Double(total)) : 1
            for (bucket, count) in rows {
                let share = Double(count) / Double(total)
                sizes[bucket, default: Size(bytes: 0, rows: 0)].bytes += Int64(
                    share * Double(table.bytes)
                )
                sizes[bucket]!.rows += Int64(Double(count) * scale)
            }
        }
        return sizes
    }

    private struct Table {
        let name: String
        let bytes: Int64
        let rows: Int64

        var isSampled: Bool { rows > Int64(BucketMeasure.sampleRows) }
    }

    private func tables() throws(AdminError) -> [Table] {
        let rows = try session.rows(
            """
            SELECT format('%I.%I', n.nspname, c.relname), pg_total_relation_size(c.oid),
                greatest(c.reltuples, 0)::bigint
            FROM pg_attribute AS a
            JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r'
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE a.attname = 'bucket' AND NOT a.attisdropped
                AND n.nspname NOT IN ('control', 'pg_catalog')
            ORDER BY 1
            """
        )
        return rows.compactMap { row in
            guard let name = row[0], let bytes = row[1].flatMap({ Int64($0) }),
                let count = row[2].flatMap({ Int64($0) })
            else { return nil }
            return Table(name: name, bytes: bytes, rows: count)
        }
    }

    private func count(in table: Table) -> String {
        let sample =
            table.isSampled
            ? "TABLESAMPLE SYSTEM (\(100 * Double(Self.sampleRows) / Double(table.rows))) REPEATABLE (1)"
            : ""
        return "SELECT bucket, count(*) FROM \(table.name) \(sample) GROUP BY bucket"
    }
}
