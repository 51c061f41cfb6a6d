internal import Contracts
internal import Crypto
internal import Database
internal import Postgres
internal import Sharding

/// Every statement on applications and on the codes they are given.
struct ApplicationStore: Sendable {
    private let database: Database

    init(database: Database) {
        self.database = database
    }

    // MARK: Applications

    /// Makes the application's row and gives it its id.
    func create(_ application: Application) async throws(DatabaseError) -> ApplicationID {
        let bucket = BucketID.of(name: application.clientID)
        let rows = try await database.write(
            on: bucket,
            [
                """
                INSERT INTO accounts.application
                    (bucket, client_id, id, secret_hash, name, website, redirect_uris, scopes)
                VALUES (\(bucket), \(application.clientID), control.next_id(\(bucket)),
                    \(application.secretHash), \(application.name), \(application.website),
                    \(application.redirectURIs), \(application.scopes.description))
                RETURNING id
                """
            ]
        )
        guard let id = try rows[0].decode(as: Int64.self).first else {
            throw .decoding("INSERT … RETURNING gave no row")
        }
        return ApplicationID(rawValue: id)
    }

    func application(_ clientID: String) async throws(DatabaseError) -> Application? {
        // Longer ones cannot be there, and PostgreSQL would refuse a NUL.
        guard clientID.utf8.count <= 64, !clientID.utf8.contains(0) else { return nil }
        let bucket = BucketID.of(name: clientID)
        return try await database.row(
            """
            SELECT client_id, id, secret_hash, name, website, redirect_uris, scopes
            FROM accounts.application
            WHERE bucket = \(bucket) AND client_id = \(clientID)
            """,
            on: bucket
        )
    }

    // MARK: Codes

    /// Keeps a code, and takes the opportunity to drop some of the bucket's that expired long ago.
    func keep(_ grant: CodeGrant, lifetime: Duration) async throws(DatabaseError) {
        _ = try await database.write(
            on: grant.bucket,
            [
                """
                INSERT INTO accounts.code
                    (bucket, hash, client_id, user_id, redirect_uri, scopes, challenge, expires_at)
                VALUES (\(grant.bucket), \(grant.hash), \(grant.clientID), \(grant.user),
                    \(grant.redirectURI), \(grant.scopes.description), \(grant.challenge),
                    now() + \(lifetime.inSeconds)::float8 * interval '1 second')
                """,
                """
                DELETE FROM accounts.code
                WHERE bucket = \(grant.bucket) AND expires_at < now() - interval '30 days'
                """,
            ]
        )
    }

    /// What a code stands for, whether it is still good or not.
    func grant(_ code: String) async throws(DatabaseError) -> KeptCode? {
        let hash = Digest.sha256(code)
        let bucket = CodeGrant.bucket(of: hash)
        return try await database.row(
            """
            SELECT hash, client_id, user_id, redirect_uri, scopes, challenge,
                expires_at <= now(), session_id
            FROM accounts.code
            WHERE bucket = \(bucket) AND hash = \(hash)
            """,
            on: bucket
        )
    }

    /// Spends a code on a session; nil if this did it, else the session that it was spent on before.
    ///
    /// The row is locked by the update, so of two at once exactly one spends it.
    func spend(
        _ grant: CodeGrant,
        on session: SessionID
    ) async throws(DatabaseError) -> SessionID? {
        let rows = try await database.write(
            on: grant.bucket,
            [
                """
                UPDATE accounts.code SET session_id = \(session)
                WHERE bucket = \(grant.bucket) AND hash = \(grant.hash) AND session_id IS NULL
                """,
                """
                SELECT session_id FROM accounts.code
                WHERE bucket = \(grant.bucket) AND hash = \(grant.hash)
                """,
            ]
        )
        if rows[0].affected == 1 { return nil }
        return try rows[1].decode(as: Int64?.self).first.flatMap { $0 }
            .map(SessionID.init(rawValue:))
    }
}

/// What a user has agreed to, as the code stands for it.
struct CodeGrant: Sendable, Routed {
    static func bucket(of hash: [UInt8]) -> BucketID { .of(name: Base64URL.encode(hash)) }

    /// SHA-256 of the code.
    var hash: [UInt8]
    var clientID: String
    var user: UserID
    var redirectURI: String
    var scopes: Scopes
    var challenge: String?

    var bucket: BucketID { Self.bucket(of: hash) }
}

struct KeptCode: Sendable, RowDecodable {
    let grant: CodeGrant
    let isExpired: Bool
    let spentOn: SessionID?

    init(row: inout Row) throws(DatabaseError) {
        grant = CodeGrant(
            hash: try row.next(),
            clientID: try row.next(),
            user: try row.next(),
            redirectURI: try row.next(),
            scopes: Scopes(names: try row.next(String.self).split(separator: " ").map(String.init)),
            challenge: try row.next()
        )
        isExpired = try row.next()
        spentOn = try row.next()
    }
}
