internal import Contracts
internal import ServiceKit

/// What an application asks a user for, checked against what the application registered.
struct AuthorizationRequest: Sendable {
    let client: Application
    let redirectURI: String
    let scopes: Scopes
    let state: String?
    let challenge: String?

    enum Refusal: Error, Sendable {
        /// Told to the user alone: nobody may be redirected by a request that nobody vouches for.
        case page(String)
        /// Told to the application, at an address that it registered.
        case redirect(to: String, code: String, detail: String, state: String?)
    }

    static let stateLimit = 4_096

    /// Reads the parameters of `GET /oauth/authorize`, which its forms carry on.
    init(_ input: Input, _ applications: ApplicationStore) async throws {
        guard let clientID = input.string("client_id"),
            let client = try await applications.application(clientID)
        else {
            throw Refusal.page("The application is not known here. It may have to register again.")
        }
        guard let uri = input.string("redirect_uri") ?? client.redirectURIs.only,
            client.redirectURIs.contains(uri)
        else {
            throw Refusal.page(
                "The application wants to be answered at an address that it has not registered."
            )
        }
        let state = input.string("state")
        guard state?.utf8.count ?? 0 <= Self.stateLimit else {
            throw Refusal.page("The application sent too long a state.")
        }
        func refuse(_ code: String, _ detail: String) -> Refusal {
            .redirect(to: uri, code: code, detail: detail, state: state)
        }
        guard input.string("response_type") == "code" else {
            throw refuse("unsupported_response_type", "Only response_type=code is supported.")
        }
        guard let scopes = Scopes(parsing: input.string("scope") ?? "read"),
            !scopes.names.isEmpty, client.scopes.covers(scopes)
        else {
            throw refuse("invalid_scope", "The scope is unknown, or not the application's to ask.")
        }
        let challenge = input.string("code_challenge").flatMap { $0.isEmpty ? nil : $0 }
        if let challenge {
            guard input.string("code_challenge_method") == "S256", ProofKey.isChallenge(challenge)
            else { throw refuse("invalid_request", "The code challenge must be of method S256.") }
        } else if client.isPublic {
            throw refuse("invalid_request", "A client without a secret must send a code challenge.")
        }
        self.client = client
        redirectURI = uri
        self.scopes = scopes
        self.state = state
        self.challenge = challenge
    }

    /// The parameters again, for hidden fields and for the way back to the page.
    var fields: AuthorizePages.Fields {
        var fields = [
            (name: "response_type", value: "code"), (name: "client_id", value: client.clientID),
            (name: "redirect_uri", value: redirectURI),
            (name: "scope", value: scopes.description),
        ]
        if let state { fields.append((name: "state", value: state)) }
        if let challenge {
            fields.append((name: "code_challenge", value: challenge))
            fields.append((name: "code_challenge_method", value: "S256"))
        }
        return fields
    }

    /// One text for the whole request: what a form was shown for is what it may be sent for.
    var fingerprint: String {
        fields.map { "\($0.name)=\($0.value.utf8.count):\($0.value)" }.joined(separator: "&")
    }
}

extension Array {
    fileprivate var only: Element? { count == 1 ? self[0] : nil }
}
