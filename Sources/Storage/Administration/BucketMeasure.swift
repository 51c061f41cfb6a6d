import Sharding

/// How much each bucket of a shard weighs, by the rows in its tables.
///
/// A bucket weighs the same wherever it lies: what counts are its live rows, not the room that deleted ones left in the
/// files, which would weigh on whatever is still there after a move. Large tables are sampled by whole pages,
/// always the same ones as long as the table does not change, so that a plan made twice is the same plan.
package struct BucketMeasure {
    /// Pages of 8 KiB that are read of one table.
    package static let sampledPages: Int64 = 65_536

    /// About what a row takes in each index.
    private static let indexEntryBytes: Int64 = 40

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

    /// Bytes (with indexes) and rows of each bucket that has any, or of those among `buckets`.
    package func sizes(of buckets: [BucketID]? = nil) throws(AdminError) -> [BucketID: Size] {
        let wanted = buckets.map {
            "WHERE t.bucket IN (\($0.map(\.description).joined(separator: ",")))"
        }
        var sizes: [BucketID: Size] = [:]
        for table in try tables() {
            for row in try session.rows(table.query(wanted ?? "")) {
                guard let bucket = row[0].flatMap({ Int($0) }).flatMap({ BucketID(rawValue: $0) }),
                    let count = row[1].flatMap({ Double($0) }),
                    let bytes = row[2].flatMap({ Double($0) })
                else { continue }
                let entries = count * Double(table.indexes * Self.indexEntryBytes)
                sizes[bucket, default: Size(bytes: 0, rows: 0)].bytes += Int64(
                    (bytes + entries) * table.scale
                )
                sizes[bucket]!.rows += Int64(count * table.scale)
            }
        }
        return sizes
    }

    private struct Table {
        let name: String
        let pages: Int64
        let indexes: Int64

        /// How many times the table is what the query reads of it.
        var scale: Double { max(1, Double(pages) / Double(BucketMeasure.sampledPages)) }

        func query(_ condition: String) -> String {
            let sample = scale > 1 ? "TABLESAMPLE SYSTEM (\(100 / scale)) REPEATABLE (1)" : ""
            return """
                SELECT t.bucket, count(*), sum(pg_column_size(t.*)) FROM \(name) AS t \(sample)
                \(condition)
                GROUP BY t.bucket
                """
        }
    }

    private func tables() throws(AdminError) -> [Table] {
        let rows = try session.rows(
            """
            SELECT format('%I.%I', n.nspname, c.relname), pg_relation_size(c.oid) / 8192,
                (SELECT count(*) FROM pg_index AS i WHERE i.indrelid = c.oid)
            FROM pg_attribute AS a
            JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r'
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE a.attname = 'bucket' AND NOT a.attisdropped
                AND n.nspname NOT IN ('control', 'pg_catalog')
            ORDER BY 1
            """
        )
        return rows.compactMap { row in
            guard let name = row[0], let pages = row[1].flatMap({ Int64($0) }),
                let indexes = row[2].flatMap({ Int64($0) })
            else { return nil }
            return Table(name: name, pages: pages, indexes: indexes)
        }
    }
}
