@testable import Accounts
import Contracts
import HTTP
import JSON
import Sharding
import TestSupport
import Testing

@Suite(.serialized) struct Profiles {
    @Test func `a profile says what its owner wrote, escaped`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")
            let id = try await world.id(of: token)
            _ = try await world.service.directory.accounts([id])

            let answer = try await world.call(
                .patch,
                "/api/v1/accounts/update_credentials",
                [
                    ("display_name", " Alice <b> "), ("note", "hi <script>\n#art"),
                    ("locked", "true"), ("bot", "1"), ("source[privacy]", "unlisted"),
                    ("source[language]", "de"), ("source[sensitive]", "true"),
                    ("fields_attributes[0][name]", "site"),
                    ("fields_attributes[0][value]", "https://a.example"),
                    ("fields_attributes[1][name]", "<i>"), ("fields_attributes[1][value]", "<u>"),
                ],
                token: token
            )

            #expect(answer.status == 200, "\(answer.text)")
            #expect(answer["display_name"] == "Alice <b>")
            #expect(answer["note"]?.contains("<script") == false)
            #expect(answer.json?["source"]?["note"]?.string == "hi <script>\n#art")
            #expect(answer.json?["source"]?["privacy"]?.string == "unlisted")
            #expect(answer.json?["locked"]?.bool == true)
            #expect(answer.json?["fields"]?.array?.count == 2)
            #expect(answer.json?["fields"]?[1]?["value"]?.string == "&lt;u&gt;")
            let seen = try await world.service.directory.accounts([id])
            #expect(seen[id]?.displayName == "Alice <b>")
            let preferences = try await world.call(.get, "/api/v1/preferences", token: token)
            #expect(preferences["posting:default:visibility"] == "unlisted")
        }
    }

    @Test func `a picture is put up and taken down`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")
            let missing = try await world.call(
                .get,
                "/api/v1/accounts/verify_credentials",
                token: token
            )
            let body =
                "--x\r\nContent-Disposition: form-data; name=\"avatar\"; filename=\"a.png\"\r\n"
                + "Content-Type: image/png\r\n\r\npixels\r\n--x--\r\n"

            let up = try await world.upload(
                "/api/v1/accounts/update_credentials",
                body: body,
                boundary: "x",
                token: token
            )
            let down = try await world.call(
                .patch,
                "/api/v1/accounts/update_credentials",
                [("avatar", "")],
                token: token
            )

            let standIn = AccountsWorld.publicURL + DefaultPicture.avatarPath
            #expect(missing["avatar"] == standIn)
            #expect(up["avatar"]?.contains("/avatar.webp") == true, "\(up.text)")
            #expect(up["avatar_static"]?.contains("-static") == true)
            #expect(down["avatar"] == standIn)
            let picture = try await world.call(.get, DefaultPicture.avatarPath)
            #expect(picture.headers["Content-Type"] == "image/png")
        }
    }

    @Test(arguments: [
        ("display_name", String(repeating: "x", count: 31)), ("display_name", "a\u{202E}b"),
        ("note", String(repeating: "x", count: 501)), ("note", "a\0b"), ("source[privacy]", "all"),
        ("source[language]", "<de>"), ("avatar", "not a file"),
    ])
    func `what a profile cannot say is refused`(name: String, value: String) async throws {
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")

            let answer = try await world.call(
                .patch,
                "/api/v1/accounts/update_credentials",
                [(name, value)],
                token: token
            )

            #expect([400, 422].contains(answer.status), "\(answer.status)")
        }
    }

    @Test func `accounts are found by id, by name and by every way to write it`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let client = try await world.aClient()
            let token = try await world.aUser("Alice_b", by: client)
            for name in ["alice_bee", "alicexb", "bob"] {
                _ = try await world.aUser(name, by: client)
            }
            let id = try await world.id(of: token)
            let url = AccountsWorld.publicURL

            for text in [
                "alice_b", "@ALICE_B", "alice_b@tessera.test:8080", "@alice_b@tessera.test",
                "\(url)/@Alice_b", "\(url)/users/\(id)", " alice_b",
            ] {
                let query = PercentEncoding.encode(text)
                let found = try await world.call(.get, "/api/v1/accounts/lookup?acct=\(query)")
                #expect(found["id"] == id.description, "\(text): \(found.text)")
                let searched = try await world.call(
                    .get,
                    "/api/v1/accounts/search?q=\(query)",
                    token: token
                )
                #expect(searched.json?[0]?["id"]?.string == id.description, "\(text)")
            }
            for text in ["nobody", "alice_b@elsewhere.example", "'; --", "\(url)/about", "%00"] {
                let query = text == "%00" ? text : PercentEncoding.encode(text)
                let found = try await world.call(.get, "/api/v1/accounts/lookup?acct=\(query)")
                #expect([400, 404].contains(found.status), "\(text)")
            }
            let begins = try await world.call(
                .get,
                "/api/v1/accounts/search?q=alice_b&limit=10",
                token: token
            )
            #expect(begins.json?.array?.map { $0["username"]?.string } == ["Alice_b", "alice_bee"])
            let one = try await world.call(.get, "/api/v1/accounts/\(id)")
            #expect(one["username"] == "Alice_b")
            let tag = try #require(one.headers["ETag"])
            let same = try await world.call(
                .get,
                "/api/v1/accounts/\(id)",
                headers: ["If-None-Match": tag]
            )
            #expect(same.status == 304)
            for bad in ["0", "1", "-1", "x", "99999999999999999999", "../x", "%2e%2e"] {
                let answer = try await world.call(.get, "/api/v1/accounts/\(bad)")
                #expect(answer.status == 404, "\(bad)")
            }
        }
    }

    @Test func `a new password ends the other sessions and the old password`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let client = try await world.aClient()
            let token = try await world.aUser("alice", by: client)
            let id = try await world.id(of: token)
            let accounts = AccountStore(database: world.database)
            let sessions = SessionStore(database: world.database)
            let extra = Session(
                id: SessionID(rawValue: try await accounts.nextIDs(1, in: id.bucket)[0]),
                user: id,
                client: .browser,
                scopes: Scopes(names: ["read"]),
                createdAt: .now,
                lifetime: .seconds(100),
                address: ""
            )
            try await sessions.open(extra)
            let second = AccessTokens(keys: world.security.keys).text(of: extra.token)
            let path = "/api/tessera/v1/account/password"

            let wrong = try await world.call(
                .post,
                path,
                [("current_password", "nope"), ("password", "brand new one")],
                token: token
            )
            let right = try await world.call(
                .post,
                path,
                [("current_password", "correct horse"), ("password", "brand new one")],
                token: token
            )

            #expect(wrong.status == 403)
            #expect(right.status == 200, "\(right.text)")
            let me = "/api/v1/accounts/verify_credentials"
            #expect(try await world.call(.get, me, token: token).status == 200)
            #expect(try await world.call(.get, me, token: second).status == 401)
            let again = try await world.call(
                .post,
                path,
                [("current_password", "correct horse"), ("password", "brand new one")],
                token: token
            )
            #expect(again.status == 403)
        }
    }

    @Test func `who leaves is gone, their name stays and their address is free`() async throws {
        try await AccountsWorld.run { world in
            let client = try await world.aClient()
            let token = try await world.aUser("alice", by: client)
            let id = try await world.id(of: token)

            let answer = try await world.call(
                .delete,
                "/api/tessera/v1/account",
                [("current_password", "correct horse")],
                token: token
            )

            #expect(answer.status == 200, "\(answer.text)")
            let me = "/api/v1/accounts/verify_credentials"
            #expect(try await world.call(.get, me, token: token).status == 401)
            #expect(try await world.call(.get, "/api/v1/accounts/\(id)").status == 404)
            #expect(try await world.call(.get, "/api/v1/accounts/lookup?acct=alice").status == 404)
            try await world.wait(
                for: ["alice"],
                from: "SELECT name FROM accounts.name_claim"
            )
            let name = try await world.call(
                .post,
                "/api/v1/accounts",
                AccountsWorld.signUpForm("alice", email: "x@example.org"),
                token: client.token
            )
            let address = try await world.call(
                .post,
                "/api/v1/accounts",
                AccountsWorld.signUpForm("newcomer", email: "alice@example.org"),
                token: client.token
            )
            #expect(name.status == 422)
            #expect(address.status == 200, "\(address.text)")
        }
    }

    @Test func `a renamed user keeps everything but the name, which is free`() async throws {
        try await AccountsWorld.run { world in
            let client = try await world.aClient()
            let token = try await world.aUser("alice", by: client)
            let id = try await world.id(of: token)
            _ = try await world.aUser("bob", by: client)
            func rename(_ name: String) async throws -> AccountsWorld.Answer {
                try await world.call(
                    .post,
                    "/api/tessera/v1/account/username",
                    [("username", name), ("current_password", "correct horse")],
                    token: token
                )
            }

            let taken = try await rename("Bob")
            let renamed = try await rename("Alicia")

            #expect(taken.status == 422)
            #expect(renamed["username"] == "Alicia", "\(renamed.text)")
            try await world.wait(
                for: ["alicia|t", "bob|t"],
                from: "SELECT name, held FROM accounts.name_claim WHERE kind = 1"
            )
            let found = try await world.call(.get, "/api/v1/accounts/lookup?acct=alicia")
            #expect(found["id"] == id.description)
            #expect(try await world.call(.get, "/api/v1/accounts/lookup?acct=alice").status == 404)
            _ = try await world.aUser("alice2", by: client)
            let reuse = try await world.call(
                .post,
                "/api/v1/accounts",
                AccountsWorld.signUpForm("alice", email: "third@example.org"),
                token: client.token
            )
            #expect(reuse.status == 200, "\(reuse.text)")
        }
    }

    @Test func `counts come from the counters of the same shard`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")
            let id = try await world.id(of: token)
            try await world.shard(of: id).psql(
                """
                INSERT INTO counters.total (bucket, subject, kind, amount)
                VALUES (\(id.bucket), \(id), 10, 5), (\(id.bucket), \(id), 12, 2);
                INSERT INTO counters.delta (bucket, subject, kind, amount)
                VALUES (\(id.bucket), \(id), 10, 1), (\(id.bucket), \(id), 11, 3);
                """
            )

            let one = try await world.call(.get, "/api/v1/accounts/\(id)")

            #expect(one.json?["followers_count"]?.int == 6)
            #expect(one.json?["following_count"]?.int == 3)
            #expect(one.json?["statuses_count"]?.int == 2)
        }
    }
}

extension AccountsWorld {
    func upload(
        _ target: String,
        body: String,
        boundary: String,
        token: String
    ) async throws -> Answer {
        try await send(
            .patch,
            target,
            Array(body.utf8),
            headers: [
                "Authorization": "Bearer \(token)",
                "Content-Type": "multipart/form-data; boundary=\(boundary)",
            ]
        )
    }
}
