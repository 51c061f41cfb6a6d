import Contracts
import Database
import Postgres
import Sharding

/// A collection of bookmarks; its bucket is its owner's.
struct CollectionID: RoutedID {
    let rawValue: Int64
}

struct BookmarkCollection: Sendable, RowDecodable {
    let id: CollectionID
    let name: String
    let items: Int

    init(id: CollectionID, name: String, items: Int = 0) {
        self.id = id
        self.name = name
        self.items = items
    }

    init(row: inout Row) throws(DatabaseError) {
        id = try row.next()
        name = try row.next()
        items = try row.next()
    }
}

/// Collections of bookmarks: whose they are decides in each statement.
struct CollectionStore: Sendable {
    /// The constraint that a second collection of one name violates.
    static let nameKey = "collection_name"

    let database: Database

    // MARK: Collections

    func nextID(for owner: UserID) async throws(DatabaseError) -> CollectionID {
        // The clock is written: a read may be sent to wherever the rows can be read.
        let rows = try await database.write(
            on: owner,
            ["SELECT control.next_id(\(owner.bucket)::smallint)"]
        )
        guard let id: CollectionID = try rows[0].first() else {
            throw .decoding("control.next_id gave no row")
        }
        return id
    }

    static func insert(_ collection: BookmarkCollection, of owner: UserID) -> SQL {
        """
        INSERT INTO posts.collection (bucket, id, owner, name)
        VALUES (\(owner.bucket), \(collection.id), \(owner), \(collection.name))
        """
    }

    func count(of owner: UserID) async throws(DatabaseError) -> Int {
        try await database.row(
            """
            SELECT count(*)
            FROM posts.collection
            WHERE bucket = \(owner.bucket) AND owner = \(owner)
            """,
            on: owner
        ) ?? 0
    }

    func collections(
        of owner: UserID,
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [BookmarkCollection] {
        try await database.rows(
            """
            SELECT id, name, items
            FROM posts.collection
            WHERE bucket = \(owner.bucket) AND owner = \(owner)
              AND id > \(lower) AND id < \(upper)
            ORDER BY id \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """,
            on: owner
        )
    }

    func collection(
        _ id: CollectionID,
        of owner: UserID
    ) async throws(DatabaseError) -> BookmarkCollection? {
        try await database.row(
            """
            SELECT id, name, items
            FROM posts.collection
            WHERE bucket = \(owner.bucket) AND id = \(id) AND owner = \(owner)
            """,
            on: owner
        )
    }

    /// Nil where there is none.
    func rename(
        _ id: CollectionID,
        of owner: UserID,
        to name: String
    ) async throws(DatabaseError) -> BookmarkCollection? {
        let rows = try await database.write(
            on: owner,
            [
                """
                UPDATE posts.collection
                SET name = \(name)
                WHERE bucket = \(owner.bucket) AND id = \(id) AND owner = \(owner)
                RETURNING id, name, items
                """
            ]
        )
        return try rows[0].first()
    }

    /// Deletes the collection; what was in it stays bookmarked. False where there is none.
    func delete(_ id: CollectionID, of owner: UserID) async throws(DatabaseError) -> Bool {
        let rows = try await database.write(
            on: owner,
            [
                """
                WITH gone AS (
                    DELETE FROM posts.collection
                    WHERE bucket = \(owner.bucket) AND id = \(id) AND owner = \(owner)
                    RETURNING id
                ), emptied AS (
                    DELETE FROM posts.collected
                    WHERE bucket = \(owner.bucket) AND collection IN (SELECT id FROM gone)
                )
                SELECT id FROM gone
                """
            ]
        )
        return !rows[0].isEmpty
    }

    // MARK: Their posts

    /// Puts a post in and bookmarks it; a repeat changes nothing. Nil where there is no such collection.
    func add(
        _ post: PostID,
        to id: CollectionID,
        of owner: UserID,
        atMost limit: Int
    ) async throws(DatabaseError) -> BookmarkCollection? {
        let rows = try await database.write(
            on: owner,
            [
                // The row is locked first, so that two that come together count one after the other.
                """
                SELECT id
                FROM posts.collection
                WHERE bucket = \(owner.bucket) AND id = \(id) AND owner = \(owner)
                FOR UPDATE
                """,
                """
                WITH added AS (
                    INSERT INTO posts.collected (bucket, collection, post, id)
                    SELECT c.bucket, c.id, \(post)::bigint, control.next_id(c.bucket)
                    FROM posts.collection AS c
                    WHERE c.bucket = \(owner.bucket) AND c.id = \(id) AND c.owner = \(owner)
                      AND c.items < \(limit)
                    ON CONFLICT (bucket, collection, post) DO NOTHING
                    RETURNING collection
                )
                UPDATE posts.collection
                SET items = items + 1
                WHERE bucket = \(owner.bucket) AND id IN (SELECT collection FROM added)
                """,
                """
                INSERT INTO posts.bookmark (bucket, actor, post, id)
                SELECT c.bucket, \(owner), c.post, control.next_id(c.bucket)
                FROM posts.collected AS c
                WHERE c.bucket = \(owner.bucket) AND c.collection = \(id) AND c.post = \(post)
                  AND NOT EXISTS (
                    SELECT
                    FROM posts.bookmark
                    WHERE bucket = \(owner.bucket) AND actor = \(owner) AND post = \(post)
                  )
                ON CONFLICT (bucket, actor, post) DO NOTHING
                """,
                """
                SELECT c.id, c.name, c.items
                FROM posts.collection AS c
                WHERE c.bucket = \(owner.bucket) AND c.id = \(id) AND c.owner = \(owner)
                  AND EXISTS (
                    SELECT
                    FROM posts.collected AS d
                    WHERE d.bucket = c.bucket AND d.collection = c.id AND d.post = \(post)
                  )
                """,
            ]
        )
        return try rows[3].first()
    }

    /// Takes a post out, which stays bookmarked. Nil where there is no such collection.
    func remove(
        _ post: PostID,
        from id: CollectionID,
        of owner: UserID
    ) async throws(DatabaseError) -> BookmarkCollection? {
        let rows = try await database.write(
            on: owner,
            [
                """
                WITH gone AS (
                    DELETE FROM posts.collected AS d
                    USING posts.collection AS c
                    WHERE c.bucket = \(owner.bucket) AND c.id = \(id) AND c.owner = \(owner)
                      AND d.bucket = c.bucket AND d.collection = c.id AND d.post = \(post)
                    RETURNING d.collection
                )
                UPDATE posts.collection
                SET items = items - 1
                WHERE bucket = \(owner.bucket) AND id IN (SELECT collection FROM gone)
                """,
                """
                SELECT id, name, items
                FROM posts.collection
                WHERE bucket = \(owner.bucket) AND id = \(id) AND owner = \(owner)
                """,
            ]
        )
        return try rows[1].first()
    }

    /// The statement that takes a post out of all collections of one owner, for the end of its bookmark.
    static func removeEverywhere(_ post: PostID, of owner: UserID) -> SQL {
        """
        WITH gone AS (
            DELETE FROM posts.collected AS d
            USING posts.collection AS c
            WHERE d.bucket = \(owner.bucket) AND d.post = \(post)
              AND c.bucket = d.bucket AND c.id = d.collection AND c.owner = \(owner)
            RETURNING d.collection
        )
        UPDATE posts.collection
        SET items = items - 1
        WHERE bucket = \(owner.bucket) AND id IN (SELECT collection FROM gone)
        """
    }

    func posts(
        in id: CollectionID,
        lower: Int64,
        upper: Int64,
        ascending: Bool,
        limit: Int
    ) async throws(DatabaseError) -> [ListEntry<PostID>] {
        try await database.rows(
            """
            SELECT id, post
            FROM posts.collected
            WHERE bucket = \(id.bucket) AND collection = \(id)
              AND id > \(lower) AND id < \(upper)
            ORDER BY id \(unsafe: ascending ? "ASC" : "DESC")
            LIMIT \(limit)
            """,
            on: id
        )
    }
}
