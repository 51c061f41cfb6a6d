@testable import Accounts
import Contracts
import Database
import EventLoops
import HTTP
import JSON
import Postgres
import Sharding
import TestSupport
import Testing

@Suite(.serialized) struct `Sign-up` {
    private static let claims = """
        SELECT name, held FROM accounts.name_claim ORDER BY name
        """

    @Test func `a newcomer gets a token, a complete account and both names`() async throws {
        try await AccountsWorld.run { world in
            let token = try await world.aUser("Alice")

            let me = try await world.call(
                .get,
                "/api/v1/accounts/verify_credentials",
                token: token
            )

            #expect(me.status == 200)
            #expect(me["username"] == "Alice")
            #expect(me["acct"] == "Alice")
            #expect(me["url"] == AccountsWorld.publicURL + "/@Alice")
            let keys = Set(me.json?.object?.map(\.key) ?? [])
            let wanted: Set = [
                "id", "username", "acct", "url", "uri", "display_name", "note", "avatar",
                "avatar_static", "header", "header_static", "locked", "fields", "emojis", "bot",
                "group", "discoverable", "noindex", "created_at", "last_status_at",
                "statuses_count", "followers_count", "following_count", "source", "role",
            ]
            #expect(wanted.subtracting(keys) == [])
            #expect(me.json?["source"]?["follow_requests_count"]?.int == 0)
            try await world.wait(
                for: ["alice|t", "alice@example.org|t"],
                from: Self.claims
            )
        }
    }

    @Test func `of many who want one name at once exactly one gets it`() async throws {
        try await AccountsWorld.run { world in
            let client = try await world.aClient()
            let spellings = ["alice", "Alice", "ＡＬＩＣＥ", "aLiCe", "al\u{200D}ice", "ALICE"]

            let answers = try await withThrowingTaskGroup(of: AccountsWorld.Answer.self) { group in
                for (index, name) in spellings.enumerated() {
                    group.addTask {
                        try await world.call(
                            .post,
                            "/api/v1/accounts",
                            AccountsWorld.signUpForm(name, email: "a\(index)@example.org"),
                            token: client.token
                        )
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }

            #expect(answers.filter { $0.status == 200 }.count == 1)
            let refused = answers.filter { $0.status == 422 }
            #expect(refused.count == spellings.count - 1)
            #expect(
                refused.allSatisfy {
                    $0.json?["details"]?["username"]?[0]?["error"]?.string == "ERR_TAKEN"
                }
            )
            try await world.wait(
                for: ["1"],
                from: "SELECT 1 FROM accounts.account WHERE username_folded = 'alice'"
            )
            // The losers' addresses are free again.
            try await world.wait(
                for: ["1", "1"],
                from: "SELECT 1 FROM accounts.name_claim"
            )
        }
    }

    @Test func `an address is taken once and does not keep the name`() async throws {
        try await AccountsWorld.run { world in
            let client = try await world.aClient()
            _ = try await world.aUser("first", by: client)

            let second = try await world.call(
                .post,
                "/api/v1/accounts",
                AccountsWorld.signUpForm("second", email: "First@Example.ORG"),
                token: client.token
            )
            let again = try await world.call(
                .post,
                "/api/v1/accounts",
                AccountsWorld.signUpForm("second"),
                token: client.token
            )

            #expect(second.status == 422)
            #expect(second.json?["details"]?["email"]?[0]?["error"]?.string == "ERR_TAKEN")
            #expect(again.status == 200)
        }
    }

    @Test(arguments: [
        ("", "a@b.example", "correct horse", "ERR_BLANK", "username"),
        ("admin", "a@b.example", "correct horse", "ERR_RESERVED", "username"),
        ("a'; DROP TABLE x;--", "a@b.example", "correct horse", "ERR_INVALID", "username"),
        ("ok_name", "not an address", "correct horse", "ERR_INVALID", "email"),
        ("ok_name", "a@b.example\r\nBcc: c@d.example", "correct horse", "ERR_INVALID", "email"),
        ("ok_name", "a@b.example", "short", "ERR_TOO_SHORT", "password"),
        ("ok_name", "a@b.example", "", "ERR_BLANK", "password"),
    ])
    func `a form that cannot be is refused with what is wrong`(
        username: String,
        email: String,
        password: String,
        code: String,
        field: String
    ) async throws {
        try await AccountsWorld.run(effects: false) { world in
            let client = try await world.aClient()

            let answer = try await world.call(
                .post,
                "/api/v1/accounts",
                AccountsWorld.signUpForm(username, email: email, password: password),
                token: client.token
            )

            #expect(answer.status == 422)
            #expect(answer.json?["details"]?[field]?[0]?["error"]?.string == code)
            #expect(try await world.rows("SELECT 1 FROM accounts.name_claim") == [])
        }
    }

    @Test func `who repeats a sign-up with its key gets the first answer`() async throws {
        try await AccountsWorld.run { world in
            let client = try await world.aClient()
            func signUp(_ password: String) async throws -> AccountsWorld.Answer {
                try await world.call(
                    .post,
                    "/api/v1/accounts",
                    AccountsWorld.signUpForm("alice", password: password),
                    token: client.token,
                    headers: ["Idempotency-Key": "k-1"]
                )
            }

            let first = try await signUp("correct horse")
            let repeated = try await signUp("correct horse")
            let other = try await signUp("another horse")

            #expect(first.status == 200)
            #expect(repeated["access_token"] == first["access_token"])
            #expect(other.status == 422)
            try await world.wait(for: ["alice"], from: "SELECT username FROM accounts.account")
        }
    }

    @Test func `closed doors are closed`() async throws {
        var settings = AccountsSettings()
        settings.openSignUp = false
        try await AccountsWorld.run(settings: settings, effects: false) { world in
            let client = try await world.aClient()

            let answer = try await world.call(
                .post,
                "/api/v1/accounts",
                AccountsWorld.signUpForm("alice"),
                token: client.token
            )

            #expect(answer.status == 403)
        }
    }

    @Test func `new users spread over the shards`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let client = try await world.aClient()

            for index in 0..<40 { _ = try await world.aUser("user\(index)", by: client) }

            for shard in world.shards {
                let count = Int(try await shard.psql("SELECT count(*) FROM accounts.account")) ?? 0
                #expect((8...32).contains(count))
            }
        }
    }
}

@Suite(.serialized) struct `A sign-up that dies` {
    private static let name = ClaimedName(kind: .username, text: "alice")
    private static let address = ClaimedName(kind: .email, text: "alice@example.org")

    /// How far an attempt got before its process was gone.
    enum Death: CaseIterable {
        case afterName
        case afterAddress
        case afterCommit
    }

    @Test(arguments: Death.allCases)
    func `leaves its names to its user or to nobody`(death: Death) async throws {
        var settings = AccountsSettings()
        settings.claimGrace = .seconds(4)
        try await AccountsWorld.run(settings: settings) { [settings] world in
            let client = try await world.aClient()
            try await Self.attempt(world, settings, until: death)

            let soon = try await world.call(
                .post,
                "/api/v1/accounts",
                AccountsWorld.signUpForm("alice", email: "other@example.org"),
                token: client.token
            )

            #expect(soon.status == 422, "the attempt may still be going on")
            let owned = death == .afterCommit
            try await world.wait(
                for: owned ? ["alice|t", "alice@example.org|t"] : [],
                from: "SELECT name, held FROM accounts.name_claim"
            )
            let later = try await world.call(
                .post,
                "/api/v1/accounts",
                AccountsWorld.signUpForm("alice", email: "other@example.org"),
                token: client.token
            )
            #expect(later.status == (owned ? 422 : 200))
        }
    }

    @Test(arguments: [Death.afterName, .afterAddress])
    func `makes room for the next one even where no worker runs`(death: Death) async throws {
        var settings = AccountsSettings()
        settings.claimGrace = .milliseconds(100)
        try await AccountsWorld.run(settings: settings, effects: false) { [settings] world in
            let client = try await world.aClient()
            try await Self.attempt(world, settings, until: death)
            try await world.loop.sleep(for: .milliseconds(150))

            let answer = try await world.call(
                .post,
                "/api/v1/accounts",
                AccountsWorld.signUpForm("alice"),
                token: client.token
            )

            #expect(answer.status == 200)
        }
    }

    @Test func `cannot commit any more once it has been given up`() async throws {
        var settings = AccountsSettings()
        settings.claimGrace = .milliseconds(50)
        try await AccountsWorld.run(settings: settings, effects: false) { [settings] world in
            let (account, names) = try await Self.attempt(world, settings, until: .afterAddress)
            let decision = DecisionID(rawValue: account.id.rawValue)
            let verdict = try await names.settle(
                Self.name,
                ClaimHolder(user: account.id, decision: decision)
            )

            await #expect(
                throws: DatabaseError.uniqueViolation(constraint: NameStore.decisionKey)
            ) {
                try await AccountStore(database: world.database).create(
                    account,
                    decision: decision,
                    alongside: []
                )
            }
            #expect(verdict == .void)
            #expect(try await world.rows("SELECT 1 FROM accounts.account") == [])
        }
    }

    @discardableResult
    private static func attempt(
        _ world: AccountsWorld,
        _ settings: AccountsSettings,
        until death: Death
    ) async throws -> (NewAccount, NameStore) {
        let accounts = AccountStore(database: world.database)
        let names = NameStore(database: world.database, grace: settings.claimGrace)
        let bucket = try #require(world.database.bucket(forNewUser: [1, 2, 3]))
        let ids = try await accounts.nextIDs(1, in: bucket)
        let account = NewAccount(
            id: UserID(rawValue: ids[0]),
            username: try Username(claiming: "alice"),
            email: try #require(EmailAddress("alice@example.org")),
            passwordHash: "x",
            role: .everyone
        )
        let decision = DecisionID(rawValue: account.id.rawValue)
        let holder = ClaimHolder(user: account.id, decision: decision)
        #expect(try await names.claim(name, for: holder, attempt: nil) == .won)
        if death == .afterName { return (account, names) }
        #expect(try await names.claim(address, for: holder, attempt: nil) == .won)
        if death == .afterAddress { return (account, names) }
        try await accounts.create(account, decision: decision, alongside: [])
        return (account, names)
    }
}
