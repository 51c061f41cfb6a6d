import Contracts
import Database
import JSON
import Postgres
import Sharding

/// Something that is being written; its bucket is its owner's.
struct DraftID: RoutedID {
    let rawValue: Int64
}

/// Drafts: whose they are decides in each statement.
struct DraftStore: Sendable {
    let database: Database

    struct Draft: Sendable, RowDecodable {
        let id: DraftID
        let version: Int64
        let params: DraftEntity.Params
        let updatedAt: Timestamp

        init(row: inout Row) throws(DatabaseError) {
            id = try row.next()
            version = try row.next()
            let text: JSONText = try row.next()
            // What is wrong with the text says no more than that it cannot be read.
            guard let json = try? JSONReader.parse(text.bytes),
                let params = DraftEntity.Params(json)
            else { throw .decoding("a draft cannot be read") }
            self.params = params
            updatedAt = try row.next()
        }

        var entity: DraftEntity {
            DraftEntity(id: id.rawValue, version: version, params: params, updatedAt: updatedAt)
        }
    }

    func nextID(for owner: UserID) async throws(DatabaseError) -> DraftID {
        // The clock is written: a read may be sent to wherever the rows can be read.
        let rows = try await database.write(
            on: owner,
            ["SELECT control.next_id(\(owner.bucket)::smallint)"]
        )
        guard let id: DraftID = try rows[0].first() else {
            throw .decoding("control.next_id gave no row")
        }
        return id
    }

    static func insert(_ id: DraftID, _ params: DraftEntity.Params, of owner: UserID) -> SQL {
        """
        INSERT INTO posts.draft (bucket, id, owner, params, updated_at)
        VALUES (
            \(owner.bucket), \(id), \(owner), \(JSONText(params.jsonBytes)), \(id.createdAt)
        )
        """
    }

    static func delete(_ id: DraftID, of owner: UserID) -> SQL {
        """
        DELETE FROM posts.draft
        WHERE bucket = \(owner.bucket) AND id = \(id) AND owner = \(owner)
        RETURNING id
        """
    }

    func count(of owner: UserID) async throws(DatabaseError) -> Int {
        try await database.row(
            """
            SELECT count(*)
            FROM posts.draft
            WHERE bucket = \(owner.bucket) AND owner = \(owner)
            """,
            on: owner
        ) ?? 0
    }

    func drafts(
        of owner: UserID,
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [Draft] {
        try await database.rows(
            """
            SELECT id, version, params, updated_at
            FROM posts.draft
            WHERE bucket = \(owner.bucket) AND owner = \(owner)
              AND id > \(lower) AND id < \(upper)
            ORDER BY id \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """,
            on: owner
        )
    }

    func draft(_ id: DraftID, of owner: UserID) async throws(DatabaseError) -> Draft? {
        try await database.row(
            """
            SELECT id, version, params, updated_at
            FROM posts.draft
            WHERE bucket = \(owner.bucket) AND id = \(id) AND owner = \(owner)
            """,
            on: owner
        )
    }

    /// Replaces what is written, if it is still of that version; nil for any. Gives nil where it is not.
    func replace(
        _ id: DraftID,
        of owner: UserID,
        version: Int64?,
        _ params: DraftEntity.Params
    ) async throws(DatabaseError) -> Draft? {
        let rows = try await database.write(
            on: owner,
            [
                """
                UPDATE posts.draft
                SET params = \(JSONText(params.jsonBytes)), version = version + 1,
                    updated_at = now()
                WHERE bucket = \(owner.bucket) AND id = \(id) AND owner = \(owner)
                  AND (\(version)::bigint IS NULL OR version = \(version)::bigint)
                RETURNING id, version, params, updated_at
                """
            ]
        )
        return try rows[0].first()
    }

    func delete(_ id: DraftID, of owner: UserID) async throws(DatabaseError) -> Bool {
        !(try await database.write(on: owner, [Self.delete(id, of: owner)])[0].isEmpty)
    }
}
