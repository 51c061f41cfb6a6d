internal import Contracts
internal import Crypto
internal import HTTP
internal import JSON
internal import Postgres
internal import ServiceKit
internal import Sharding

/// OAuth's machine end: codes and credentials into tokens, and tokens out of use.
struct TokenRoutes: Sendable {
    let parts: AccountsParts

    var endpoints: [Endpoint] {
        [
            Endpoint(
                .post,
                "/oauth/token",
                operationID: "createToken",
                summary: "Exchange a code, or an application's own credentials, for a token.",
                tag: "oauth",
                access: .open,
                inputs: [
                    Parameter(
                        "grant_type",
                        .oneOf(["authorization_code", "client_credentials"]),
                        required: true,
                        "What is exchanged."
                    ),
                    Parameter("client_id", .string, "Unless the client uses HTTP Basic."),
                    Parameter(
                        "client_secret",
                        .string,
                        "Unless the client uses HTTP Basic or has none."
                    ),
                    Parameter("code", .string, "The authorisation code."),
                    Parameter("redirect_uri", .string, "The same as in the request for the code."),
                    Parameter(
                        "code_verifier",
                        .string,
                        "The secret behind the code challenge (PKCE)."
                    ),
                    Parameter(
                        "scope",
                        .string,
                        "What the token is for; with client_credentials only."
                    ),
                ],
                output: .entity("Token"),
                handler: token
            ),
            Endpoint(
                .post,
                "/oauth/revoke",
                operationID: "revokeToken",
                summary: "End the session of a token.",
                tag: "oauth",
                access: .open,
                inputs: [
                    Parameter("token", .string, required: true, "The token to take out of use."),
                    Parameter("client_id", .string, "Unless the client uses HTTP Basic."),
                    Parameter(
                        "client_secret",
                        .string,
                        "Unless the client uses HTTP Basic or has none."
                    ),
                ],
                output: .emptyObject,
                handler: revoke
            ),
            Endpoint(
                .get,
                "/.well-known/oauth-authorization-server",
                operationID: "getAuthorizationServer",
                summary: "Describe this authorisation server (RFC 8414).",
                tag: "oauth",
                access: .open,
                output: .content("application/json"),
                handler: metadata
            ),
        ]
    }

    // MARK: Tokens

    @Sendable private func token(_ call: Call) async throws -> Response {
        switch call.input.string("grant_type") {
        case "authorization_code": return try await exchange(call)
        case "client_credentials": return try await issue(call)
        case nil:
            throw Self.error("invalid_request", "Missing required parameter: grant_type.")
        default:
            throw Self.error(
                "unsupported_grant_type",
                "The authorization grant type is not supported by the authorization server."
            )
        }
    }

    /// A token of an application by itself.
    private func issue(_ call: Call) async throws -> Response {
        let client = try await client(call)
        guard !client.isPublic else {
            throw Self.error(
                "unauthorized_client",
                "A client without a secret is nobody by itself."
            )
        }
        let scopes = try Self.scopes(call.input.string("scope"), for: client)
        let bucket = BucketID.of(name: client.clientID)
        let ids = try await parts.accounts.nextIDs(1, in: bucket)
        let session = Session(
            id: SessionID(rawValue: ids[0]),
            user: nil,
            client: client,
            scopes: scopes,
            createdAt: .now,
            lifetime: parts.settings.tokenLifetime,
            address: call.request.remoteAddress
        )
        try await parts.sessionStore.open(session)
        return .json(parts.tokenEntity(of: session))
    }

    /// A user's token for a code.
    private func exchange(_ call: Call) async throws -> Response {
        let client = try await client(call)
        guard let code = call.input.string("code"), code.utf8.count <= 256,
            let kept = try await parts.applications.grant(code),
            kept.grant.clientID == client.clientID
        else { throw Self.invalidGrant }
        if let spent = kept.spentOn { throw try await replayed(spent) }
        try Self.check(kept, call.input, client)
        let ids = try await parts.accounts.nextIDs(1, in: kept.grant.user.bucket)
        let session = Session(
            id: SessionID(rawValue: ids[0]),
            user: kept.grant.user,
            client: client,
            scopes: kept.grant.scopes,
            createdAt: .now,
            lifetime: parts.settings.tokenLifetime,
            address: call.request.remoteAddress
        )
        if let spent = try await parts.applications.spend(kept.grant, on: session.id) {
            throw try await replayed(spent)
        }
        do {
            try await parts.sessionStore.open(session)
        } catch DatabaseError.uniqueViolation {
            // Somebody sent the code again meanwhile, so this session was ended before it began.
            throw Self.invalidGrant
        }
        return .json(parts.tokenEntity(of: session))
    }

    private static func check(
        _ kept: KeptCode,
        _ input: Input,
        _ client: Application
    ) throws(ServiceError) {
        guard !kept.isExpired, input.string("redirect_uri") == kept.grant.redirectURI else {
            throw invalidGrant
        }
        guard let challenge = kept.grant.challenge else {
            guard !client.isPublic, !input.has("code_verifier") else { throw invalidGrant }
            return
        }
        guard let verifier = input.string("code_verifier"),
            ProofKey.verify(verifier, against: challenge)
        else { throw invalidGrant }
    }

    /// A code that comes twice was seen by two: what the first got is taken back (RFC 6749, section 4.1.2).
    private func replayed(_ session: SessionID) async throws -> ServiceError {
        try await parts.sessionStore.revoke(session)
        await parts.sessions.forget([session])
        return Self.invalidGrant
    }

    // MARK: Revocation

    @Sendable private func revoke(_ call: Call) async throws -> Response {
        let client = try await client(call)
        let text = try call.input.requiredString("token")
        guard let token = parts.tokens.read(text, at: .now),
            let session = try await parts.sessionStore.session(token.session)
        else { return .emptyObject }
        guard session.clientID == client.clientID else {
            throw ServiceError(
                .forbidden,
                "You are not authorized to revoke this token",
                oauth: "unauthorized_client"
            )
        }
        try await parts.sessionStore.revoke(session.id)
        await parts.sessions.forget([session.id])
        return .emptyObject
    }

    // MARK: Clients

    /// The application that asks, if it proves itself, by HTTP Basic or in the form.
    private func client(_ call: Call) async throws -> Application {
        let (id, secret) = try Self.credentials(call)
        guard let client = try await parts.applications.application(id) else {
            throw Self.invalidClient
        }
        guard client.isPublic ? secret.isEmpty : client.accepts(secret: secret) else {
            throw Self.invalidClient
        }
        return client
    }

    private static func credentials(
        _ call: Call
    ) throws(ServiceError) -> (id: String, secret: String) {
        if let header = call.request.header("Authorization") {
            guard let basic = BasicCredentials(header) else { throw invalidClient }
            return (basic.name, basic.password)
        }
        guard let id = call.input.string("client_id"), !id.isEmpty else { throw invalidClient }
        return (id, call.input.string("client_secret") ?? "")
    }

    static func scopes(_ text: String?, for client: Application) throws(ServiceError) -> Scopes {
        guard let text, !text.isEmpty else {
            return client.scopes.covers("read") ? Scopes(names: ["read"]) : client.scopes
        }
        guard let scopes = Scopes(parsing: text), client.scopes.covers(scopes) else {
            throw error(
                "invalid_scope",
                "The requested scope is invalid, unknown, or malformed."
            )
        }
        return scopes
    }

    // MARK: Errors

    private static func error(_ code: String, _ message: String) -> ServiceError {
        ServiceError(.badRequest, message, oauth: code)
    }

    private static let invalidGrant = error(
        "invalid_grant",
        "The provided authorization grant is invalid, expired, revoked, does not match the "
            + "redirection URI used in the authorization request, or was issued to another client."
    )

    private static let invalidClient = ServiceError(
        .unauthorized,
        "Client authentication failed due to unknown client, no client authentication included, or "
            + "unsupported authentication method.",
        oauth: "invalid_client",
        headers: ["WWW-Authenticate": "Basic realm=\"Tessera\""]
    )

    // MARK: Description

    /// RFC 8414 knows issuers with `https` only, and clients that read this refuse any other address; so whoever
    /// comes without TLS is told nothing, and uses the paths that everybody knows.
    @Sendable private func metadata(_ call: Call) async throws -> Response {
        guard let url = Self.issuer(call) else {
            throw ServiceError(.notFound, "This description is given over HTTPS only.")
        }
        return Response.json { json in
            json.object { json in
                json.field("issuer", url)
                json.field("authorization_endpoint", url + "/oauth/authorize")
                json.field("token_endpoint", url + "/oauth/token")
                json.field("revocation_endpoint", url + "/oauth/revoke")
                json.field("app_registration_endpoint", url + "/api/v1/apps")
                json.field("scopes_supported", ["read", "write", "follow", "push", "profile"])
                json.field("response_types_supported", ["code"])
                json.field("response_modes_supported", ["query"])
                json.field("grant_types_supported", ["authorization_code", "client_credentials"])
                json.field("code_challenge_methods_supported", ["S256"])
                json.field(
                    "token_endpoint_auth_methods_supported",
                    ["client_secret_basic", "client_secret_post", "none"]
                )
            }
        }
    }

    /// The public address, or the one that the client has used where it has another scheme.
    private static func issuer(_ call: Call) -> String? {
        if call.publicURL.hasPrefix("https://") { return call.publicURL }
        guard call.request.scheme == "https", let host = call.request.header("Host"),
            host.utf8.count <= 255,
            host.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-.:[]".contains($0)) })
        else { return nil }
        return "https://\(host)"
    }
}

/// A name and a password from an `Authorization: Basic` header.
struct BasicCredentials: Sendable, Equatable {
    let name: String
    let password: String

    init?(_ header: String) {
        let parts = header.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "basic" else { return nil }
        let text = parts[1].replacing("+", with: "-").replacing("/", with: "_")
        let unpadded = text.prefix { $0 != "=" }
        guard let bytes = Base64URL.decode(unpadded),
            let decoded = String(validating: bytes, as: UTF8.self),
            let colon = decoded.firstIndex(of: ":")
        else { return nil }
        name = String(decoded[..<colon])
        password = String(decoded[decoded.index(after: colon)...])
    }
}
