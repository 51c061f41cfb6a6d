@testable import Accounts
import Contracts
import Crypto
import HTTP
import JSON
import Sharding
import Testing

@Suite(.serialized) struct OAuth {
    private static let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    private static let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

    // MARK: A browser

    /// Follows the pages of `/oauth/authorize` as a person does.
    private struct Browser {
        let world: AccountsWorld
        var cookies: [String: String] = [:]

        init(_ world: AccountsWorld) { self.world = world }

        mutating func get(_ parameters: [(String, String)]) async throws -> AccountsWorld.Answer {
            let target = "/oauth/authorize?" + AccountsWorld.encode(parameters)
            let answer = try await world.call(.get, target, headers: headers)
            keep(answer)
            return answer
        }

        mutating func post(_ form: [(String, String)]) async throws -> AccountsWorld.Answer {
            let answer = try await world.call(.post, "/oauth/authorize", form, headers: headers)
            keep(answer)
            return answer
        }

        private var headers: Headers {
            let text = cookies.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
                .joined(separator: "; ")
            return text.isEmpty ? [:] : ["Cookie": text]
        }

        private mutating func keep(_ answer: AccountsWorld.Answer) {
            for cookie in answer.headers.all("Set-Cookie") {
                let pair = cookie.prefix { $0 != ";" }
                guard let equals = pair.firstIndex(of: "=") else { continue }
                cookies[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
            }
        }

        /// Logs in and agrees; gives the answer to the agreement.
        mutating func authorize(
            _ username: String,
            _ parameters: [(String, String)]
        ) async throws -> AccountsWorld.Answer {
            let login = try await get(parameters)
            let seal = try #require(login.field("csrf"), "\(login.text)")
            let entered = try await post(
                parameters + [
                    ("csrf", seal), ("action", "login"), ("username", username),
                    ("password", "correct horse"),
                ]
            )
            #expect(entered.status == 303, "\(entered.text)")
            let consent = try await get(parameters)
            let second = try #require(consent.field("csrf"))
            return try await post(parameters + [("csrf", second), ("action", "allow")])
        }
    }

    private static func request(
        _ client: AccountsWorld.Client,
        challenge: String? = nil,
        scope: String = "read write",
        state: String? = "s1"
    ) -> [(String, String)] {
        var parameters = [
            ("response_type", "code"), ("client_id", client.id),
            ("redirect_uri", client.redirectURI), ("scope", scope),
        ]
        if let state { parameters.append(("state", state)) }
        if let challenge {
            parameters += [("code_challenge", challenge), ("code_challenge_method", "S256")]
        }
        return parameters
    }

    private static func exchange(
        _ code: String,
        _ client: AccountsWorld.Client,
        with changes: [String: String?] = [:]
    ) -> [(String, String)] {
        var form: [String: String] = [
            "grant_type": "authorization_code", "code": code, "client_id": client.id,
            "client_secret": client.secret, "redirect_uri": client.redirectURI,
        ]
        for (name, value) in changes { form[name] = value }
        return form.sorted { $0.key < $1.key }
    }

    private static func code(in answer: AccountsWorld.Answer) throws -> String {
        let location = try #require(answer.headers["Location"], "\(answer.text)")
        let query = location.drop { $0 != "?" }.dropFirst()
        return try #require(Query(parsing: String(query))["code"])
    }

    // MARK: The way it goes

    @Test func `a person lets an application in, which then acts for them`() async throws {
        try await AccountsWorld.run { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient(redirectURI: "https://app.example/cb?x=1")
            var browser = Browser(world)

            let answer = try await browser.authorize("alice", Self.request(client))
            let token = try await world.call(
                .post,
                "/oauth/token",
                Self.exchange(Self.code(in: answer), client)
            )

            #expect(answer.status == 303)
            #expect(
                answer.headers["Location"]?.hasPrefix("https://app.example/cb?x=1&code=") == true
            )
            #expect(answer.headers["Location"]?.hasSuffix("&state=s1") == true)
            #expect(token["token_type"] == "Bearer")
            #expect(token["scope"] == "read write")
            let me = try await world.call(
                .get,
                "/api/v1/accounts/verify_credentials",
                token: token["access_token"]
            )
            #expect(me["username"] == "alice")
        }
    }

    @Test func `who is logged in is only asked for consent`() async throws {
        try await AccountsWorld.run { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient(name: "First")
            let other = try await world.aClient(name: "Second")
            var browser = Browser(world)
            _ = try await browser.authorize("alice@example.org", Self.request(client))

            let page = try await browser.get(Self.request(other))
            let forced = try await browser.get(Self.request(other) + [("force_login", "true")])

            #expect(page.text.contains("Authorise Second?"))
            #expect(page.text.contains("@alice"))
            #expect(!page.text.contains("type=\"password\""))
            #expect(forced.text.contains("type=\"password\""))
        }
    }

    @Test func `an out-of-band code is shown and works`() async throws {
        try await AccountsWorld.run { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient()
            var browser = Browser(world)

            let page = try await browser.authorize("alice", Self.request(client))
            let code = try #require(page.field("code"))
            let basic = Base64URL.encode(Array("\(client.id):\(client.secret)".utf8))
                .replacing("-", with: "+").replacing("_", with: "/")
            let token = try await world.call(
                .post,
                "/oauth/token",
                Self.exchange(
                    code,
                    client,
                    with: ["client_id": nil, "client_secret": nil]
                ),
                headers: ["Authorization": "Basic \(basic)"]
            )

            #expect(page.status == 200)
            #expect(page.headers["Location"] == nil)
            #expect(token.status == 200, "\(token.text)")
        }
    }

    @Test func `a public client needs no secret and cannot do without PKCE`() async throws {
        try await AccountsWorld.run { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient(redirectURI: "tusky://oauth", isPublic: true)
            var browser = Browser(world)

            let without = try await browser.get(Self.request(client))
            let answer = try await browser.authorize(
                "alice",
                Self.request(client, challenge: Self.challenge)
            )
            let token = try await world.call(
                .post,
                "/oauth/token",
                Self.exchange(
                    Self.code(in: answer),
                    client,
                    with: ["client_secret": nil, "code_verifier": Self.verifier]
                )
            )

            #expect(without.headers["Location"]?.contains("error=invalid_request") == true)
            #expect(token.status == 200, "\(token.text)")
        }
    }

    // MARK: The ways it must not go

    @Test(
        arguments: [
            ["code_verifier": nil], ["code_verifier": "x"],
            ["code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX"],
            ["redirect_uri": "https://app.example/other"], ["redirect_uri": nil], ["code": "guess"],
            ["code": ""], ["client_secret": "wrong"], ["client_secret": nil],
            ["client_id": "unknown"],
            ["grant_type": "password"], ["grant_type": nil],
        ] as [[String: String?]]
    )
    func `a code is worth nothing without all that belongs to it`(
        changes: [String: String?]
    ) async throws {
        try await AccountsWorld.run(effects: false) { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient(redirectURI: "https://app.example/cb")
            var browser = Browser(world)
            let answer = try await browser.authorize(
                "alice",
                Self.request(client, challenge: Self.challenge)
            )
            let code = try Self.code(in: answer)
            var all: [String: String?] = ["code_verifier": Self.verifier]
            all.merge(changes) { _, new in new }

            let refused = try await world.call(
                .post,
                "/oauth/token",
                Self.exchange(code, client, with: all)
            )
            let right = try await world.call(
                .post,
                "/oauth/token",
                Self.exchange(code, client, with: ["code_verifier": Self.verifier])
            )

            #expect([400, 401].contains(refused.status))
            #expect(refused["error"] != nil && refused["error_description"] != nil)
            #expect(refused["access_token"] == nil)
            #expect(right.status == 200, "\(right.text)")
        }
    }

    @Test func `a code that comes twice ends what it began`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient()
            var browser = Browser(world)
            let page = try await browser.authorize("alice", Self.request(client))
            let code = try #require(page.field("code"))
            let first = try await world.call(.post, "/oauth/token", Self.exchange(code, client))
            let before = try await world.call(
                .get,
                "/api/v1/accounts/verify_credentials",
                token: first["access_token"]
            )

            let second = try await world.call(.post, "/oauth/token", Self.exchange(code, client))

            #expect(before.status == 200)
            #expect(second.status == 400)
            #expect(second["error"] == "invalid_grant")
            let after = try await world.call(
                .get,
                "/api/v1/accounts/verify_credentials",
                token: first["access_token"]
            )
            #expect(after.status == 401)
        }
    }

    @Test func `of many who send one code at once at most one is served`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient()
            var browser = Browser(world)
            let page = try await browser.authorize("alice", Self.request(client))
            let code = try #require(page.field("code"))

            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        try await world.call(.post, "/oauth/token", Self.exchange(code, client))
                            .status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }

            #expect(statuses.filter { $0 == 200 }.count <= 1)
            // Whatever was given out has been taken back.
            #expect(
                try await world.rows(
                    "SELECT 1 FROM accounts.session WHERE client_name = 'Test'"
                        + " AND user_id IS NOT NULL AND revoked_at IS NULL"
                        + " AND scopes = 'read write'"
                ) == []
            )
        }
    }

    @Test func `an expired code is refused`() async throws {
        var settings = AccountsSettings()
        settings.codeLifetime = .zero
        try await AccountsWorld.run(settings: settings, effects: false) { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient()
            var browser = Browser(world)
            let page = try await browser.authorize("alice", Self.request(client))

            let answer = try await world.call(
                .post,
                "/oauth/token",
                Self.exchange(try #require(page.field("code")), client)
            )

            #expect(answer["error"] == "invalid_grant")
        }
    }

    @Test(arguments: [
        ("redirect_uri", "https://evil.example/cb"),
        ("redirect_uri", "https://app.example/cb/../x"),
        ("redirect_uri", "https://app.example/cb%0d%0aSet-Cookie: x=y"),
        ("redirect_uri", "javascript:alert(1)"), ("redirect_uri", ""), ("client_id", "unknown"),
        ("client_id", ""), ("client_id", String(repeating: "x", count: 5_000)),
    ])
    func `nobody is redirected where the application is not known to be`(
        name: String,
        value: String
    ) async throws {
        try await AccountsWorld.run(effects: false) { world in
            let client = try await world.aClient(redirectURI: "https://app.example/cb")
            var parameters = Self.request(client).filter { $0.0 != name }
            parameters.append((name, value))
            var browser = Browser(world)

            let answer = try await browser.get(parameters)

            #expect(answer.status == 400)
            #expect(answer.headers["Location"] == nil)
        }
    }

    @Test func `a state with line breaks stays one value`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient(redirectURI: "https://app.example/cb")
            var browser = Browser(world)

            let answer = try await browser.authorize(
                "alice",
                Self.request(client, state: "a\r\nSet-Cookie: evil=1\r\n\r\n<script>")
            )

            let location = try #require(answer.headers["Location"])
            #expect(
                location.hasSuffix("state=a%0D%0ASet-Cookie%3A%20evil%3D1%0D%0A%0D%0A%3Cscript%3E")
            )
            #expect(!answer.headers.all("Set-Cookie").contains { $0.contains("evil") })
        }
    }

    @Test func `hostile names are shown and never run`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let hostile = "<script>alert(1)</script>\"'&"
            let client = try await world.aClient(name: hostile)
            var browser = Browser(world)

            let page = try await browser.get(Self.request(client, state: "\"><img src=x>"))
            let seal = try #require(page.field("csrf"))
            let again = try await browser.post(
                Self.request(client, state: "\"><img src=x>") + [
                    ("csrf", seal), ("action", "login"), ("username", "\"><svg onload=x>"),
                    ("password", "x"),
                ]
            )

            for text in [page.text, again.text] {
                #expect(
                    !text.contains("<script") && !text.contains("<img") && !text.contains("<svg o")
                )
            }
            #expect(page.text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"))
            #expect(page.headers["Content-Security-Policy"]?.contains("default-src 'none'") == true)
            #expect(page.headers["X-Frame-Options"] == "DENY")
        }
    }

    @Test func `a form of another site, browser or request does nothing`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient(redirectURI: "https://app.example/cb")
            let greedy = try await world.aClient(redirectURI: "https://greedy.example/cb")
            var victim = Browser(world)
            _ = try await victim.authorize("alice", Self.request(client))
            let consent = try await victim.get(Self.request(client))
            let seal = try #require(consent.field("csrf"))
            var attacker = Browser(world)
            let theirs = try #require(try await attacker.get(Self.request(greedy)).field("csrf"))

            let none = try await victim.post(Self.request(greedy) + [("action", "allow")])
            let foreign = try await victim.post(
                Self.request(greedy) + [("action", "allow"), ("csrf", theirs)]
            )
            let moved = try await victim.post(
                Self.request(greedy) + [("action", "allow"), ("csrf", seal)]
            )
            let wider = try await victim.post(
                Self.request(client, scope: "read write follow")
                    + [("action", "allow"), ("csrf", seal)]
            )

            for answer in [none, foreign, moved, wider] {
                #expect(answer.status == 403)
                #expect(answer.headers["Location"] == nil)
            }
        }
    }

    @Test func `an application asks for no more than it registered`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let client = try await world.aClient(
                redirectURI: "https://app.example/cb",
                scopes: "read"
            )
            var browser = Browser(world)

            let wide = try await browser.get(Self.request(client, scope: "read write"))
            let unknown = try await browser.get(Self.request(client, scope: "browser"))
            let alone = try await world.call(
                .post,
                "/oauth/token",
                [
                    ("grant_type", "client_credentials"), ("client_id", client.id),
                    ("client_secret", client.secret), ("scope", "write"),
                ]
            )

            #expect(wide.headers["Location"]?.contains("error=invalid_scope") == true)
            #expect(unknown.headers["Location"]?.contains("error=invalid_scope") == true)
            #expect(alone["error"] == "invalid_scope")
        }
    }

    @Test func `the server describes itself to who comes by HTTPS`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let plain = try await world.call(.get, "/.well-known/oauth-authorization-server")

            #expect(plain.status == 404)
        }
    }

    @Test func `guessing passwords is slowed down, for known and unknown names alike`() async throws
    {
        let throttle = LoginThrottle(account: .init(burst: 3, recovery: .seconds(60)))
        try await AccountsWorld.run(throttle: throttle, effects: false) { world in
            _ = try await world.aUser("alice")
            let client = try await world.aClient()
            for name in ["alice", "nobody"] {
                var browser = Browser(world)
                var statuses: [Int] = []
                for _ in 0..<4 {
                    let page = try await browser.get(Self.request(client))
                    let answer = try await browser.post(
                        Self.request(client) + [
                            ("csrf", try #require(page.field("csrf"))), ("action", "login"),
                            ("username", name), ("password", "wrong"),
                        ]
                    )
                    statuses.append(answer.status)
                    if answer.status == 429 { #expect(answer.headers["Retry-After"] != nil) }
                }
                // One whose place is taken so late that it is asked for again holds two.
                #expect(statuses.first == 422 && statuses.last == 429)
                #expect(statuses == statuses.sorted())
            }
        }
    }
}
