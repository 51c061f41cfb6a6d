internal import Contracts
internal import Crypto
internal import HTTP
internal import JSON
internal import ServiceKit
internal import Sharding

/// Registration of client applications.
struct ApplicationRoutes: Sendable {
    let parts: AccountsParts

    var endpoints: [Endpoint] {
        [
            Endpoint(
                .post,
                "/api/v1/apps",
                operationID: "createApplication",
                summary: "Register a client application.",
                tag: "apps",
                access: .open,
                inputs: [
                    Parameter(
                        "client_name",
                        .string,
                        required: true,
                        "The name that users are shown."
                    ),
                    Parameter(
                        "redirect_uris",
                        .strings,
                        required: true,
                        "Where codes may be sent, one a line; `\(RedirectURI.outOfBand)` shows them."
                    ),
                    Parameter("scopes", .string, "What it may ever ask for; `read` if left out."),
                    Parameter("website", .string, "Its page."),
                    Parameter(
                        "token_endpoint_auth_method",
                        .oneOf(["client_secret_basic", "client_secret_post", "none"]),
                        "`none` for a client that can keep no secret; it must then use PKCE."
                    ),
                ],
                output: .entity("CredentialApplication"),
                handler: create
            ),
            Endpoint(
                .get,
                "/api/v1/apps/verify_credentials",
                operationID: "verifyApplication",
                summary: "Tell which application a token belongs to.",
                tag: "apps",
                access: .app(),
                output: .entity("Application"),
                handler: verify
            ),
        ]
    }

    @Sendable private func create(_ call: Call) async throws -> Response {
        let isPublic = call.input.string("token_endpoint_auth_method") == "none"
        let secret = SecureRandom.text(32)
        var application = Application(
            clientID: SecureRandom.text(32),
            id: ApplicationID(rawValue: 1),
            secretHash: isPublic ? nil : Digest.sha256(secret),
            name: try Self.name(call.input),
            website: try Self.website(call.input),
            redirectURIs: try Self.redirectURIs(call.input),
            scopes: try Self.scopes(call.input)
        )
        application.id = try await parts.applications.create(application)
        return .json(application.entity(secret: isPublic ? "" : secret))
    }

    @Sendable private func verify(_ call: Call) async throws -> Response {
        guard let id = call.authentication?.session,
            let session = try await parts.sessionStore.session(id),
            let application = try await parts.applications.application(session.clientID)
        else { throw ServiceError.unauthorized }
        return .json(application.entity())
    }

    // MARK: The form

    private static func name(_ input: Input) throws(ServiceError) -> String {
        let name = try input.requiredString("client_name").trimmed
        guard !name.isEmpty, name.count <= Application.nameLimit, name.isPrintable else {
            throw .invalid("Application name is invalid")
        }
        return name
    }

    private static func website(_ input: Input) throws(ServiceError) -> String? {
        guard let website = input.string("website"), !website.isEmpty else { return nil }
        let lower = website.lowercased()
        guard lower.hasPrefix("https://") || lower.hasPrefix("http://"),
            RedirectURI.isAcceptable(website)
        else { throw .invalid("Website must be a valid URL") }
        return website
    }

    private static func redirectURIs(_ input: Input) throws(ServiceError) -> [String] {
        let uris = input.strings("redirect_uris")
            .flatMap { $0.split(whereSeparator: \.isWhitespace).map(String.init) }
        guard !uris.isEmpty else { throw .invalid("Redirect URI can't be blank") }
        guard uris.count <= Application.redirectLimit,
            uris.allSatisfy(RedirectURI.isAcceptable)
        else {
            throw .invalid("Redirect URI must be an absolute URI.")
        }
        return uris
    }

    private static func scopes(_ input: Input) throws(ServiceError) -> Scopes {
        let text = input.strings("scopes").joined(separator: " ")
        guard let scopes = Scopes(parsing: text.isEmpty ? "read" : text) else {
            throw .invalid("Scopes doesn't match configured on the server.")
        }
        return scopes
    }
}

extension String {
    /// Whether it can stand in a line: no control or direction-changing characters, no NUL.
    var isPrintable: Bool {
        unicodeScalars.allSatisfy { scalar in
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator, .surrogate: false
            default:
                !(0x202A...0x202E).contains(scalar.value)
                    && !(0x2066...0x2069).contains(scalar.value)
            }
        }
    }
}
