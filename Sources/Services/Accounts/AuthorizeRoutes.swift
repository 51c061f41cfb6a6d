internal import Contracts
internal import Crypto
internal import HTTP
internal import Logging
internal import ServiceKit
internal import Sharding

/// OAuth's human end: `/oauth/authorize` logs people in and asks them.
///
/// Log-in opens a session of the browser, kept in a cookie, so that the next application only asks for consent.
/// Every form carries a ``FormSeal``; nobody is ever redirected but to an address which the application has
/// registered.
struct AuthorizeRoutes: Sendable {
    private static let path = "/oauth/authorize"
    private static let browserCookie = "tessera_browser"
    private static let nonceCookie = "tessera_form"
    /// No token for the API can have this scope, and no handler asks for it.
    private static let browserScopes = Scopes(names: ["browser"])

    let parts: AccountsParts
    private let pages: AuthorizePages
    private let seal: FormSeal

    init(parts: AccountsParts) {
        self.parts = parts
        pages = AuthorizePages(instanceName: parts.settings.instanceName)
        seal = FormSeal(secret: parts.security.secret(for: "form seal"))
    }

    var endpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                Self.path,
                operationID: "showAuthorization",
                summary: "The page on which a user logs in and lets an application in.",
                tag: "oauth",
                access: .open,
                inputs: [
                    Parameter("response_type", .oneOf(["code"]), required: true, "Always `code`."),
                    Parameter("client_id", .string, required: true, "The application."),
                    Parameter(
                        "redirect_uri",
                        .string,
                        required: true,
                        "One of its registered addresses."
                    ),
                    Parameter("scope", .string, "What it asks for; `read` if left out."),
                    Parameter("state", .string, "Given back as it is."),
                    Parameter(
                        "code_challenge",
                        .string,
                        "SHA-256 of the verifier, base64url (PKCE)."
                    ),
                    Parameter("code_challenge_method", .oneOf(["S256"]), "Always `S256`."),
                    Parameter("force_login", .boolean, "Ask who it is even where that is known."),
                ],
                output: .content("text/html"),
                handler: show
            ),
            Endpoint(
                .post,
                Self.path,
                operationID: "answerAuthorization",
                summary: "What the forms of that page send.",
                tag: "oauth",
                access: .open,
                inputs: [
                    Parameter(
                        "action",
                        .oneOf(["login", "allow", "deny", "logout"]),
                        "The button."
                    ),
                    Parameter("csrf", .string, "The seal of the form."),
                ],
                output: .content("text/html"),
                handler: answer
            ),
        ]
    }

    // MARK: The page

    @Sendable private func show(_ call: Call) async throws -> Response {
        try await refusing { () async throws -> Response in
            let request = try await AuthorizationRequest(call.input, parts.applications)
            let visit = Visit(call)
            let login = call.input.bool("force_login") == true ? nil : try await known(visit)
            return page(for: request, visit, login)
        }
    }

    private func page(
        for request: AuthorizationRequest,
        _ visit: Visit,
        _ login: Login?,
        username: String = "",
        problem: String? = nil,
        status: Status = 200
    ) -> Response {
        let fields =
            request.fields + [
                (
                    name: "csrf",
                    value: seal.seal(
                        request.fingerprint,
                        for: visit.sealed(with: login?.session),
                        at: .now
                    )
                )
            ]
        var response =
            if let login {
                pages.consent(
                    to: request.client.name,
                    website: request.client.website,
                    scopes: request.scopes,
                    account: login.username,
                    fields: fields,
                    redirectURI: request.redirectURI,
                    problem: problem,
                    status: status
                )
            } else {
                pages.login(
                    to: request.client.name,
                    fields: fields,
                    username: username,
                    problem: problem,
                    status: status
                )
            }
        response.headers.add(
            "Set-Cookie",
            Cookie.header(
                Self.nonceCookie,
                visit.nonce,
                path: Self.path,
                lifetime: FormSeal.lifetime,
                secure: visit.isSecure
            )
        )
        return response
    }

    // MARK: Answers

    @Sendable private func answer(_ call: Call) async throws -> Response {
        try await refusing { () async throws -> Response in
            let request = try await AuthorizationRequest(call.input, parts.applications)
            let visit = Visit(call)
            let login = try await known(visit)
            guard
                seal.verify(
                    call.input.string("csrf") ?? "",
                    request.fingerprint,
                    for: visit.sealed(with: login?.session),
                    at: .now
                )
            else {
                return page(
                    for: request,
                    visit,
                    login,
                    problem: "The page was open for too long, or was not ours. Try again.",
                    status: 403
                )
            }
            switch call.input.string("action") {
            case "allow":
                guard let login else { return page(for: request, visit, nil) }
                return try await allow(request, login)
            case "deny":
                return refused(
                    request.redirectURI,
                    "access_denied",
                    "The user has refused.",
                    request.state
                )
            case "logout": return try await logOut(request, visit, login)
            default: return try await logIn(request, visit, call)
            }
        }
    }

    private func logIn(
        _ request: AuthorizationRequest,
        _ visit: Visit,
        _ call: Call
    ) async throws -> Response {
        let name = call.input.string("username") ?? ""
        let outcome = try await parts.logIn.run(
            name: name,
            password: call.input.string("password") ?? "",
            address: call.request.remoteAddress
        )
        switch outcome {
        case .welcome(let credential):
            let session = try await openBrowserSession(credential, call)
            var response = back(to: request)
            response.headers.add(
                "Set-Cookie",
                Cookie.header(
                    Self.browserCookie,
                    parts.tokens.text(of: session.token),
                    path: "/",
                    lifetime: parts.settings.browserLifetime,
                    secure: visit.isSecure
                )
            )
            return response
        case .refused:
            return page(
                for: request,
                visit,
                nil,
                username: name,
                problem: "That name and password do not belong together.",
                status: 422
            )
        case .wait(let delay):
            let seconds = max(1, delay.components.seconds)
            var response = page(
                for: request,
                visit,
                nil,
                username: name,
                problem: "Too many attempts. Try again in \(seconds) seconds.",
                status: 429
            )
            response.headers["Retry-After"] = String(seconds)
            return response
        }
    }

    private func openBrowserSession(
        _ credential: Credential,
        _ call: Call
    ) async throws -> Session {
        let ids = try await parts.accounts.nextIDs(1, in: credential.user.bucket)
        let session = Session(
            id: SessionID(rawValue: ids[0]),
            user: credential.user,
            client: .browser,
            scopes: Self.browserScopes,
            createdAt: .now,
            lifetime: parts.settings.browserLifetime,
            address: call.request.remoteAddress
        )
        try await parts.sessionStore.open(session)
        return session
    }

    private func logOut(
        _ request: AuthorizationRequest,
        _ visit: Visit,
        _ login: Login?
    ) async throws -> Response {
        if let login {
            try await parts.sessionStore.revoke(login.session)
            await parts.sessions.forget([login.session])
        }
        var response = back(to: request)
        response.headers.add(
            "Set-Cookie",
            Cookie.header(
                Self.browserCookie,
                "",
                path: "/",
                lifetime: .zero,
                secure: visit.isSecure
            )
        )
        return response
    }

    private func allow(_ request: AuthorizationRequest, _ login: Login) async throws -> Response {
        // 192 bits, and short enough to be seen whole.
        let code = SecureRandom.text(24)
        let grant = CodeGrant(
            hash: Digest.sha256(code),
            clientID: request.client.clientID,
            user: login.user,
            redirectURI: request.redirectURI,
            scopes: request.scopes,
            challenge: request.challenge
        )
        try await parts.applications.keep(grant, lifetime: parts.settings.codeLifetime)
        guard request.redirectURI != RedirectURI.outOfBand else {
            return pages.code(code, for: request.client.name)
        }
        var parameters = [("code", code)]
        if let state = request.state { parameters.append(("state", state)) }
        return Self.redirect(to: RedirectURI.adding(parameters, to: request.redirectURI))
    }

    // MARK: Where to

    /// To the page again, so that a reload sends nothing twice.
    private func back(to request: AuthorizationRequest) -> Response {
        Self.redirect(
            to: RedirectURI.adding(
                request.fields.map { ($0.name, $0.value) },
                to: Self.path
            )
        )
    }

    private static func redirect(to location: String) -> Response {
        Response(
            status: 303,
            headers: [
                "Location": location, "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
            ]
        )
    }

    private func refusing(_ body: () async throws -> Response) async throws -> Response {
        do {
            return try await body()
        } catch AuthorizationRequest.Refusal.page(let detail) {
            return pages.refusal("This cannot be authorised", detail, status: 400)
        } catch AuthorizationRequest.Refusal.redirect(let uri, let code, let detail, let state) {
            return refused(uri, code, detail, state)
        }
    }

    private func refused(
        _ uri: String,
        _ code: String,
        _ detail: String,
        _ state: String?
    ) -> Response {
        guard uri != RedirectURI.outOfBand else {
            return pages.refusal("Not authorised", detail, status: 400)
        }
        var parameters = [("error", code), ("error_description", detail)]
        if let state { parameters.append(("state", state)) }
        return Self.redirect(to: RedirectURI.adding(parameters, to: uri))
    }

    // MARK: Who

    private struct Login {
        let user: UserID
        let session: SessionID
        let username: String
    }

    /// One browser's request: its cookies, and whether it came by HTTPS.
    private struct Visit {
        let nonce: String
        let token: String?
        let isSecure: Bool

        init(_ call: Call) {
            let cookies = call.request.header("Cookie")
            let sent = Cookie.value(AuthorizeRoutes.nonceCookie, in: cookies)
            // One that we cannot have made is replaced.
            nonce =
                sent.flatMap { Base64URL.decode($0)?.count == 16 ? $0 : nil }
                ?? SecureRandom.text(16)
            token = Cookie.value(AuthorizeRoutes.browserCookie, in: cookies)
            isSecure = call.request.scheme == "https"
        }

        /// What a seal is bound to: this browser, and the log-in that the page was shown to.
        func sealed(with session: SessionID?) -> String {
            "\(nonce) \(session?.description ?? "")"
        }
    }

    private func known(_ visit: Visit) async throws -> Login? {
        guard let token = visit.token,
            let valid = try await parts.sessions.verify(token), valid.scopes == Self.browserScopes,
            let user = valid.user, let session = valid.session,
            let credential = try await parts.accounts.credential(user)
        else { return nil }
        return Login(user: user, session: session, username: credential.username)
    }
}
