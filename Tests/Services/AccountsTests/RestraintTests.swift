@testable import Accounts
import JSON
import Contracts
import HTTP
import ServiceKit
import Sharding
import TestSupport
import Testing

@Suite(.serialized) struct Restraints {
    @Test
    func `administrators suspend and limit, nobody else does, and all of it can be taken back`()
        async throws
    {
        try await AccountsWorld.run(effects: false) { world in
            let client = try await world.aClient()
            var people: [UserID] = []
            var tokens: [String] = []
            for name in ["alice", "bobby", "carol"] {
                tokens.append(try await world.aUser(name, by: client))
                people.append(try await world.id(of: tokens[tokens.count - 1]))
            }
            _ = try await world.rows(
                "UPDATE accounts.account SET role = 10 WHERE username = 'alice'"
            )
            let carol = "/api/v1/accounts/\(people[2])"

            await #expect(throws: ServiceError.self) {
                try await world.service.restrain(people[2], .suspended, by: people[1])
            }
            #expect(try await world.call(.get, carol).status == 200)
            try await world.service.restrain(people[2], .suspended, by: people[0])
            #expect(try await world.call(.get, carol).status == 404)
            #expect(try await world.call(.get, carol, token: tokens[1]).status == 404)
            let own = try await world.call(
                .get,
                "/api/v1/accounts/verify_credentials",
                token: tokens[2]
            )
            #expect(own.status == 401, "it is logged out everywhere")

            try await world.service.restrain(people[2], .limited, by: people[0])
            let limited = try await world.call(.get, carol)
            let found = try await world.service.directory.search(
                "caro",
                limit: 5,
                viewer: people[1]
            )
            let named = try await world.service.directory.search(
                "carol",
                limit: 5,
                viewer: people[1]
            )
            #expect(limited.json?["limited"]?.bool == true)
            #expect(found.isEmpty)
            #expect(named.map(\.id) == [people[2]])

            try await world.service.restrain(people[2], .none, by: people[0])
            let again = try await world.service.directory.search(
                "caro",
                limit: 5,
                viewer: people[1]
            )
            #expect(again.map(\.id) == [people[2]])
        }
    }

    @Test
    func `an account is not there for whom it blocks, and shows no posts to strangers if private`()
        async throws
    {
        try await AccountsWorld.run(effects: false) { world in
            let client = try await world.aClient()
            let token = try await world.aUser("alice", by: client)
            let other = try await world.aUser("bobby", by: client)
            let alice = try await world.id(of: token), bobby = try await world.id(of: other)
            let path = "/api/v1/accounts/\(alice)"
            let unknown = try await world.call(.get, "/api/v1/accounts/1", token: other)

            world.standing.known[bobby] = ViewerStanding(blockedBy: [alice])
            for hidden in [path, "/api/v1/accounts/lookup?acct=alice"] {
                let answer = try await world.call(.get, hidden, token: other)
                #expect(answer.status == 404)
                #expect(answer["error"] == unknown["error"])
            }
            world.standing.known[bobby] = ViewerStanding(blocking: [alice])
            #expect(try await world.call(.get, path, token: other).status == 200)
        }
    }
}
