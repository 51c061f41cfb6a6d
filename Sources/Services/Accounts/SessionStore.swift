internal import Contracts
internal import Database
internal import Postgres
internal import Sharding

/// Every statement on sessions.
struct SessionStore: Sendable {
    /// How many sessions a list shows.
    static let listLimit = 200

    private let database: Database

    init(database: Database) {
        self.database = database
    }

    private static let columns: SQL = """
        id, user_id, client_id, client_name, client_website, scopes, created_at, expires_at,
        revoked_at, address
        """

    /// The statement that opens a session; it fails where the session was revoked before it began.
    func opening(of session: Session) -> SQL {
        """
        INSERT INTO accounts.session
            (bucket, id, user_id, client_id, client_name, client_website, scopes, created_at,
            expires_at, address)
        VALUES (\(session.id.bucket), \(session.id), \(session.user), \(session.clientID),
            \(session.clientName), \(session.clientWebsite), \(session.scopes.description),
            \(session.createdAt), \(session.expiresAt), \(session.address))
        """
    }

    func open(_ session: Session) async throws(DatabaseError) {
        _ = try await database.write(on: session.id, [opening(of: session)])
    }

    func session(_ id: SessionID) async throws(DatabaseError) -> Session? {
        try await database.row(
            """
            SELECT \(fragment: Self.columns)
            FROM accounts.session
            WHERE bucket = \(id.bucket) AND id = \(id)
            """,
            on: id
        )
    }

    /// Those of these sessions that are over, or are none.
    func revoked(among ids: [SessionID]) async throws(DatabaseError) -> [SessionID] {
        let over: [Int64] = try await database.gather(ids) { ids in
            """
            SELECT w.id
            FROM unnest(\(ids.map(\.rawValue))::bigint[]) AS w (id)
            LEFT JOIN accounts.session AS s
                ON s.bucket = ((w.id >> 6) & 1023)::smallint AND s.id = w.id
            WHERE s.id IS NULL OR s.revoked_at IS NOT NULL OR s.expires_at <= now()
            """
        }
        return over.map(SessionID.init(rawValue:))
    }

    /// The user's sessions that stand, newest first.
    func sessions(of user: UserID) async throws(DatabaseError) -> [Session] {
        try await database.rows(
            """
            SELECT \(fragment: Self.columns)
            FROM accounts.session
            WHERE bucket = \(user.bucket) AND user_id = \(user) AND revoked_at IS NULL
                AND expires_at > now()
            ORDER BY id DESC
            LIMIT \(Self.listLimit)
            """,
            on: user
        )
    }

    /// Ends a session, also one whose opening is still on its way: its row then stands in its place.
    func revoke(_ id: SessionID) async throws(DatabaseError) {
        _ = try await database.write(
            on: id,
            [
                """
                INSERT INTO accounts.session
                    (bucket, id, client_id, client_name, scopes, expires_at, revoked_at)
                VALUES (\(id.bucket), \(id), '', '', '', now(), now())
                ON CONFLICT (bucket, id) DO UPDATE
                SET revoked_at = coalesce(accounts.session.revoked_at, excluded.revoked_at)
                """
            ]
        )
    }

    /// Ends one of the user's own sessions; false if it is none of theirs.
    func revoke(_ id: SessionID, of user: UserID) async throws(DatabaseError) -> Bool {
        guard id.bucket == user.bucket else { return false }
        let rows = try await database.write(
            on: user,
            [
                """
                UPDATE accounts.session SET revoked_at = now()
                WHERE bucket = \(user.bucket) AND id = \(id) AND user_id = \(user)
                    AND revoked_at IS NULL
                """
            ]
        )
        return rows[0].affected == 1
    }

    /// The statement that ends the user's sessions but one.
    func endingAll(of user: UserID, except kept: SessionID?) -> SQL {
        """
        UPDATE accounts.session SET revoked_at = now()
        WHERE bucket = \(user.bucket) AND user_id = \(user) AND revoked_at IS NULL
            AND id <> \(kept?.rawValue ?? 0)
        """
    }
}
