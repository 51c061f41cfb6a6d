@testable import Accounts
import Contracts
import Database
import HTTP
import JSON
import Memcache
import Sharding
import TestSupport
import Testing

@Suite(.serialized) struct Departures {
    @Test func `a deleted account has its traces looked for, now and in a minute`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")
            let id = try await world.id(of: token)

            let answer = try await world.call(
                .delete,
                "/api/tessera/v1/account",
                [("current_password", "correct horse")],
                token: token
            )

            #expect(answer.status == 200, "\(answer.text)")
            let kinds = try await world.rows(
                """
                SELECT kind || ' ' || (available_at > now() + interval '30 seconds')
                FROM jobs.outbox WHERE payload->>'user' = '\(id)' AND kind LIKE '%gone'
                """
            )
            let expected = ["graph.user_gone", "media.owner_gone", "posts.author_gone"]
            #expect(kinds.sorted() == expected.flatMap { ["\($0) false", "\($0) true"] })
            let again = try await world.call(
                .delete,
                "/api/tessera/v1/account",
                [("current_password", "correct horse")],
                token: token
            )
            #expect(again.status == 401)
        }
    }

    @Test func `an account shows the day of its newest post that counts`() async throws {
        try await AccountsWorld.run(effects: false) { world in
            let token = try await world.aUser("alice")
            let id = try await world.id(of: token)
            let fresh = try await world.call(.get, "/api/v1/accounts/\(id)")
            #expect(fresh.json?["last_status_at"]?.isNull == true)

            // 2024-05-05 and, direct, a day later.
            for (milliseconds, visibility) in [(1_714_900_000_000, 0), (1_714_990_000_000, 3)] {
                let post = Int64(milliseconds) << 16 | Int64(id.bucket.rawValue) << 6
                try await world.shard(of: id).psql(
                    """
                    INSERT INTO posts.post (bucket, id, author, text, visibility, created_at)
                    VALUES (\(id.bucket.rawValue), \(post), \(id), 'x', \(visibility), now())
                    """
                )
            }
            await world.service.directory.forget(id)

            let after = try await world.call(.get, "/api/v1/accounts/\(id)")
            #expect(after["last_status_at"] == "2024-05-05", "\(after.text)")
        }
    }

    @Test func `sessions, codes and decisions that are over are forgotten, others stay`()
        async throws
    {
        try await AccountsWorld.run { world in
            let token = try await world.aUser("alice")
            let id = try await world.id(of: token)
            // The confirmation of the names has gone through.
            try await world.wait(
                for: ["0"],
                from: """
                    SELECT count(*) FROM jobs.outbox WHERE kind = 'accounts.confirm'
                        HAVING count(*) > 0 UNION
                    SELECT 0 WHERE EXISTS (SELECT FROM accounts.account)
                    """
            )
            let bucket = id.bucket.rawValue
            try await world.shard(of: id).psql(
                """
                INSERT INTO accounts.session
                    (bucket, id, client_id, client_name, scopes, expires_at, revoked_at)
                VALUES
                    (\(bucket), 1, 'old', '', '', now() - interval '2 days', NULL),
                    (\(bucket), 2, 'revoked', '', '', now() + interval '9 days',
                        now() - interval '2 days'),
                    (\(bucket), 3, 'fresh', '', '', now() + interval '9 days',
                        now() - interval '1 hour');
                INSERT INTO accounts.decision (bucket, id, committed, decided_at) VALUES
                    (\(bucket), 5, true, now() - interval '31 days'),
                    (\(bucket), 6, false, now() - interval '29 days');
                INSERT INTO accounts.code
                    (bucket, hash, client_id, user_id, redirect_uri, scopes, expires_at)
                VALUES (\(bucket), decode(repeat('00', 32), 'hex'), 'x', \(id), '', '',
                    now() - interval '31 days');
                INSERT INTO jobs.outbox (bucket, id, kind, payload)
                VALUES (\(bucket), 1, 'accounts.confirm', '{}');
                UPDATE jobs.outbox SET available_at = now() + interval '1 day';
                """
            )
            let sweep = AccountSweep(database: world.workers)

            try await sweep(id.bucket)
            let held = try await world.rows("SELECT id FROM accounts.decision WHERE id < 9")
            try await world.shard(of: id).psql("DELETE FROM jobs.outbox")
            try await sweep(id.bucket)

            #expect(held.count == 2, "a confirmation is owed")
            #expect(try await world.rows("SELECT id FROM accounts.decision WHERE id < 9") == ["6"])
            #expect(
                try await world.rows("SELECT client_id FROM accounts.session WHERE id < 9")
                    == ["fresh"]
            )
            #expect(try await world.rows("SELECT 1 FROM accounts.code").isEmpty)
            let answer = try await world.call(
                .get,
                "/api/v1/accounts/verify_credentials",
                token: token
            )
            #expect(answer.status == 200)
        }
    }
}

@Suite(.serialized) struct `The throttle of all nodes` {
    private let limits = LoginThrottle.Limits(burst: 3, recovery: .seconds(60))

    private func throttle(_ cache: any CacheClient) -> SharedThrottle {
        SharedThrottle(
            cache: cache,
            account: limits,
            address: LoginThrottle.Limits(burst: 50, recovery: .seconds(5))
        )
    }

    @Test func `attempts at once on many nodes have the places of one`() async throws {
        let server = try await MemcachedServer.start(megabytes: 16)
        try await withLoop { loop in
            let nodes = (0..<4).map { _ in throttle(AccountsWorld.cache(loop, server)) }

            let went = await withTaskGroup(of: [CacheKey]?.self) { group in
                for index in 0..<40 {
                    group.addTask {
                        let answer = await nodes[index % 4].begin(account: "alice", address: "1")
                        guard case .go(let places) = answer else { return nil }
                        return places
                    }
                }
                return await group.reduce(into: [[CacheKey]]()) { went, places in
                    if let places { went.append(places) }
                }
            }

            #expect(went.count == 3)
            await nodes[0].end(went[0])
            guard case .go = await nodes[1].begin(account: "alice", address: "1") else {
                Issue.record("a place that was given back is free")
                return
            }
            guard case .wait = await nodes[2].begin(account: "alice", address: "2") else {
                Issue.record("the places are taken, wherever the attempt comes from")
                return
            }
        }
    }

    @Test func `without a cache nobody is refused here, nor let through elsewhere`() async throws {
        let server = try await MemcachedServer.start(megabytes: 16)
        try await withLoop { loop in
            let node = throttle(AccountsWorld.cache(loop, server))
            await server.process.kill()

            for _ in 0..<5 {
                guard case .go(let places) = await node.begin(account: "alice", address: "1")
                else {
                    Issue.record("a cache that is down refused a log-in")
                    return
                }
                #expect(places.isEmpty)
            }
        }
    }
}
