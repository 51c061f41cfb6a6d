import Contracts
import Graph
import JSON
import Jobs
import Sharding
import Testing

struct DepartureTests {
    @Test func `nobody follows a deleted account, and it follows nobody, on either side`()
        async throws
    {
        try await GraphWorld.run { world in
            let gone = world.aUser(0)
            let others = (1...7).map { world.aUser($0) }
            for other in others { _ = try await world.follow(gone, by: other) }
            for other in others.prefix(4) { _ = try await world.follow(other, by: gone) }
            _ = try await world.follow(others[1], by: others[0])
            try await world.settle()

            var runs = 0
            while try await world.runDeparture(of: gone) {
                runs += 1
                try #require(runs < 10)
                // Redelivered before its consequences have arrived, too.
                _ = try await world.runDeparture(of: gone)
                try await world.settle()
            }

            for user in [gone] + others {
                let expected = user == others[0] ? [others[1]] : []
                #expect(try await world.following(of: user) == expected)
                #expect(
                    try await world.followers(of: user) == (user == others[1] ? [others[0]] : [])
                )
            }
            #expect(try await world.count(.followers, of: gone) == 0)
            #expect(try await world.count(.following, of: gone) == 0)
            #expect(try await world.count(.followers, of: others[1]) == 1)
        }
    }
}

extension GraphWorld {
    /// One run of the effect as a worker runs it; true if it wants to come again.
    fileprivate func runDeparture(of user: UserID) async throws -> Bool {
        let effect = ClaimedEffect(
            kind: EffectKinds.graphUserGone,
            owner: user.bucket,
            id: 1,
            payload: UserEffect(user: user).jsonBytes,
            createdAt: .now
        )
        do {
            _ = try await perform([effect])
            return false
        } catch EffectError.later {
            return true
        }
    }
}
