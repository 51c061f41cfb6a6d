internal import Administration
internal import Coordination
internal import Sharding

/// A table that a move takes along.
struct BucketTable: Sendable, Equatable {
    /// Schema and name, quoted where they need it.
    let name: String
    let key: [String]
    let columns: [String]
    let isLogged: Bool

    /// All of them on a shard, by name.
    static func all(_ session: AdminSession) throws(AdminError) -> [BucketTable] {
        let rows = try session.rows(
            """
            SELECT name, array_to_string(key_columns, ','), array_to_string(columns, ','),
                is_logged::text
            FROM control.bucket_tables()
            """
        )
        return rows.map { row in
            func list(_ text: String?) -> [String] {
                (text ?? "").split(separator: ",").map(String.init)
            }
            return BucketTable(
                name: row[0] ?? "",
                key: list(row[1]),
                columns: list(row[2]),
                isLogged: row[3] == "true"
            )
        }
    }
}

extension MoveSpec {
    /// The buckets as a PostgreSQL array.
    var bucketArray: String { "{" + bucketList + "}" }

    /// The buckets between commas.
    var bucketList: String { buckets.map(\.description).joined(separator: ",") }

    /// What one of the spec's statements says about rows.
    var rowFilter: String { "bucket = ANY ('\(bucketArray)'::smallint[])" }

    /// The name of the stream that brings the rows: its slot, its publication, its subscription.
    ///
    /// Each run of a copy has one of its own; that of a rollback is the reverse stream of the move that it rolls back.
    func stream(run: Int) -> StreamName {
        switch kind {
        case .copy: StreamName(move: id, run: run)
        case .rollback(let original): StreamName(move: original, run: nil)
        }
    }

    /// The stream that leads back after the activation; nil for a rollback.
    var reverse: StreamName? { kind == .copy ? StreamName(move: id, run: nil) : nil }
}

/// What slot, publication and subscription of a stream are called.
struct StreamName: Hashable, Sendable, CustomStringConvertible {
    static let prefix = "tessera_"

    let move: MoveID

    /// Which run of the copy it follows; nil for the reverse stream.
    let run: Int?

    init(move: MoveID, run: Int?) {
        self.move = move
        self.run = run
    }

    /// Reads what `description` writes.
    init?(_ text: String) {
        guard text.hasPrefix(Self.prefix) else { return nil }
        let parts = text.dropFirst(Self.prefix.count).split(separator: "_")
        guard parts.count == 2, let move = MoveID(String(parts[0])) else { return nil }
        let run = parts[1].first == "r" ? Int(parts[1].dropFirst()) : nil
        guard run != nil || parts[1] == "back" else { return nil }
        self.init(move: move, run: run)
    }

    /// Such as `tessera_m12_r1`, and `tessera_m12_back`.
    var description: String { "\(Self.prefix)\(move)_\(run.map { "r\($0)" } ?? "back")" }
}

/// Epochs as a PostgreSQL array.
func array(_ epochs: [Epoch]) -> String {
    "{" + epochs.map(\.description).joined(separator: ",") + "}"
}
