internal import Contracts
internal import Postgres
internal import Sharding

/// One log-in of a user, or of an application by itself.
struct Session: Sendable, RowDecodable {
    var id: SessionID
    var user: UserID?
    var clientID: String
    var clientName: String
    var clientWebsite: String?
    var scopes: Scopes
    var createdAt: Timestamp
    var expiresAt: Timestamp
    var revokedAt: Timestamp?
    var address: String

    init(
        id: SessionID,
        user: UserID?,
        client: Application,
        scopes: Scopes,
        createdAt: Timestamp,
        lifetime: Duration,
        address: String
    ) {
        self.id = id
        self.user = user
        clientID = client.clientID
        clientName = client.name
        clientWebsite = client.website
        self.scopes = scopes
        // Whole seconds: a token says no more, and must say the same each time it is written.
        self.createdAt = Timestamp(milliseconds: createdAt.seconds * 1_000)
        expiresAt = self.createdAt + lifetime
        self.address = address
    }

    init(row: inout Row) throws(DatabaseError) {
        id = try row.next()
        user = try row.next()
        clientID = try row.next()
        clientName = try row.next()
        clientWebsite = try row.next()
        scopes = Scopes(names: try row.next(String.self).split(separator: " ").map(String.init))
        createdAt = try row.next()
        expiresAt = try row.next()
        revokedAt = try row.next()
        address = try row.next()
    }

    var token: AccessToken {
        AccessToken(user: user, session: id, scopes: scopes, expiresAt: expiresAt)
    }
}
