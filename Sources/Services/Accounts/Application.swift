internal import Contracts
internal import Crypto
internal import Postgres
internal import Sharding

/// A client program that users let into their accounts.
struct Application: Sendable, RowDecodable {
    static let nameLimit = 200
    static let redirectLimit = 20

    var clientID: String
    var id: ApplicationID
    /// SHA-256 of the secret; nil for a public client, which can keep none and proves itself by PKCE.
    var secretHash: [UInt8]?
    var name: String
    var website: String?
    var redirectURIs: [String]
    var scopes: Scopes

    init(
        clientID: String,
        id: ApplicationID,
        secretHash: [UInt8]?,
        name: String,
        website: String?,
        redirectURIs: [String],
        scopes: Scopes
    ) {
        self.clientID = clientID
        self.id = id
        self.secretHash = secretHash
        self.name = name
        self.website = website
        self.redirectURIs = redirectURIs
        self.scopes = scopes
    }

    init(row: inout Row) throws(DatabaseError) {
        clientID = try row.next()
        id = try row.next()
        secretHash = try row.next()
        name = try row.next()
        website = try row.next()
        redirectURIs = try row.next()
        scopes = Scopes(names: try row.next(String.self).split(separator: " ").map(String.init))
    }

    var isPublic: Bool { secretHash == nil }

    /// The secret has 256 random bits, so one plain hash keeps it.
    func accepts(secret: String) -> Bool {
        secretHash.map { Digest.equal($0, Digest.sha256(secret)) } ?? false
    }

    /// Sessions that a browser has with our own pages belong to this, which no row describes.
    static let browser = Application(
        clientID: "browser",
        id: ApplicationID(rawValue: 1),
        secretHash: nil,
        name: "Browser",
        website: nil,
        redirectURIs: [],
        scopes: Scopes(names: [])
    )

    func entity(secret: String? = nil) -> ApplicationEntity {
        ApplicationEntity(
            id: id.description,
            name: name,
            website: website,
            scopes: scopes,
            redirectURIs: redirectURIs,
            credentials: secret.map { .init(id: clientID, secret: $0) }
        )
    }
}
