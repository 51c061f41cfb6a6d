@testable import Accounts
import Contracts
import Crypto
import EventLoops
import HTTP
import JSON
import Sharding
import TestSupport
import Testing

@Suite(.serialized) struct Sessions {
    private static let me = "/api/v1/accounts/verify_credentials"

    @Test func `forged, expired and foreign tokens are refused`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")
            let id = try await world.id(of: token)
            let real = try #require(AccessTokens(keys: world.security.keys).read(token, at: .now))
            var expired = real
            expired.expiresAt = .now - .seconds(1)
            var other = real
            other.session = SessionID(rawValue: real.session.rawValue ^ 1)
            let mine = AccessTokens(keys: world.security.keys)

            for bad in [
                token + "x", String(token.dropLast()), mine.text(of: expired), mine.text(of: other),
                AccessTokens(keys: .random()).text(of: real), "", "x", "v1.a.b.c", id.description,
            ] {
                let answer = try await world.call(.get, Self.me, token: bad)
                #expect(answer.status == 401, "\(bad)")
                #expect(answer.headers["WWW-Authenticate"]?.contains("Bearer") == true)
            }
            #expect(try await world.call(.get, Self.me, token: token).status == 200)
        }
    }

    @Test func `a user sees and ends their own sessions and nobody else's`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let alice = try await world.aUser("alice")
            let bob = try await world.aUser("bob")
            let list = try await world.call(.get, "/api/tessera/v1/sessions", token: alice)
            let session = try #require(list.json?[0]?["id"]?.string)

            let byBob = try await world.call(
                .delete,
                "/api/tessera/v1/sessions/\(session)",
                token: bob
            )
            let stillThere = try await world.call(.get, Self.me, token: alice)
            let byAlice = try await world.call(
                .delete,
                "/api/tessera/v1/sessions/\(session)",
                token: alice
            )

            #expect(list.json?.array?.count == 1)
            #expect(list.json?[0]?["current"]?.bool == true)
            #expect(!list.text.contains(alice))
            #expect(byBob.status == 404)
            #expect(stillThere.status == 200)
            #expect(byAlice.status == 200)
            #expect(try await world.call(.get, Self.me, token: alice).status == 401)
        }
    }

    @Test func `an application gives up its token and no other's`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let client = try await world.aClient()
            let other = try await world.aClient()
            let token = try await world.aUser("alice", by: client)
            func revoke(_ client: AccountsWorld.Client) async throws -> Int {
                try await world.call(
                    .post,
                    "/oauth/revoke",
                    [("client_id", client.id), ("client_secret", client.secret), ("token", token)]
                ).status
            }

            #expect(try await revoke(other) == 403)
            #expect(try await world.call(.get, Self.me, token: token).status == 200)
            #expect(try await revoke(client) == 200)
            #expect(try await world.call(.get, Self.me, token: token).status == 401)
            #expect(try await revoke(client) == 200)
        }
    }

    @Test func `a revoked token is refused in time though no node was told`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")
            let id = try await world.id(of: token)
            let other = SessionDirectory(
                loop: world.loop,
                keys: world.security.keys,
                database: world.database,
                cache: world.cache
            )
            #expect(try await other.verify(token) != nil)

            // Only the shard knows: every hint is lost.
            try await world.shard(of: id).psql("UPDATE accounts.session SET revoked_at = now()")
            let began = ContinuousClock.now
            while try await other.verify(token) != nil {
                try await world.loop.sleep(for: .milliseconds(100))
                guard ContinuousClock.now - began < .seconds(15) else { break }
            }

            #expect(ContinuousClock.now - began < SessionDirectory.refusalBound)
            #expect(try await other.verify(token) == nil)
        }
    }

    @Test func `memcached holds no token and may be gone`() async throws {
        let memcached = try await MemcachedServer.start()
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")
            let down = try await MemcachedServer.start()
            let cache = AccountsWorld.cache(world.loop, down)
            await down.process.kill()
            let directory = SessionDirectory(
                loop: world.loop,
                keys: world.security.keys,
                database: world.database,
                cache: cache
            )

            #expect(try await directory.verify(token)?.user != nil)
        }
        await memcached.process.stop()
    }

    @Test func `a browser's cookie opens no door of the API`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")
            var session = try #require(
                AccessTokens(keys: world.security.keys).read(token, at: .now)
            )
            session.scopes = Scopes(names: ["browser"])
            let cookie = AccessTokens(keys: world.security.keys).text(of: session)

            for path in [Self.me, "/api/v1/preferences", "/api/tessera/v1/sessions"] {
                #expect(try await world.call(.get, path, token: cookie).status == 403)
            }
        }
    }

    @Test func `tokens remembered are bounded`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")
            var first = try #require(AccessTokens(keys: world.security.keys).read(token, at: .now))
            let tokens = AccessTokens(keys: world.security.keys)

            for second in 0..<200 {
                first.expiresAt = .now + .seconds(Int64(1_000 + second))
                #expect(try await world.service.sessions.verify(tokens.text(of: first)) != nil)
            }
        }
    }
}
