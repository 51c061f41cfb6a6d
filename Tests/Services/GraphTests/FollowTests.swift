import Contracts
import Database
import Graph
import Jobs
import Postgres
import Sharding
import Testing

struct FollowTests {
    @Test func `a follow reaches the other shard, its lists and its counts`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)

            let answer = try await world.follow(ben, by: ann)
            let kinds = try await world.settle()

            #expect(answer.following && !answer.followedBy)
            #expect(kinds == ["feed.backfill"])
            let back = try await world.store.relationships(of: ben, to: [ann])
            #expect(back[0].followedBy && !back[0].following)
            let following = try await world.following(of: ann)
            let followers = try await world.followers(of: ben)
            #expect(following == [ben])
            #expect(followers == [ann])
            let counts = [
                try await world.count(.following, of: ann),
                try await world.count(.followers, of: ben),
            ]
            #expect(counts == [1, 1])
        }
    }

    @Test func `a follow that is there already changes nothing`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            _ = try await world.follow(ben, by: ann)
            try await world.settle()

            let again = try await world.follow(ben, by: ann)
            let effects = try await world.takeEffects()

            #expect(again.following)
            #expect(effects.isEmpty)
            let count = try await world.count(.following, of: ann)
            #expect(count == 1)
        }
    }

    @Test func `effects that arrive twice or out of order converge`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            for round in 0..<6 {
                // Follow and unfollow by turns; the last one counts.
                var effects: [ClaimedEffect] = []
                for step in 0...(round % 3 + 1) {
                    if step % 2 == 0 {
                        _ = try await world.follow(ben, by: ann)
                    } else {
                        try await world.unfollow(ben, by: ann)
                    }
                    effects += try await world.takeEffects()
                }

                effects = (effects + effects).shuffled()
                try await world.perform(effects)

                let truth = try await world.store.relationships(of: ann, to: [ben])[0].following
                let mirror = try await world.followers(of: ben) == [ann]
                #expect(mirror == truth)
                let counts = [
                    try await world.count(.following, of: ann),
                    try await world.count(.followers, of: ben),
                ]
                #expect(counts == [truth ? 1 : 0, truth ? 1 : 0])
                try await world.unfollow(ben, by: ann)
                try await world.settle()
            }
        }
    }

    @Test func `messages about one pair at once count once`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            _ = try await world.follow(ben, by: ann)
            let effects = try await world.takeEffects()

            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask { _ = try await world.perform(effects) }
                }
                try await group.waitForAll()
            }

            let count = try await world.count(.followers, of: ben)
            let backfills = try await world.takeEffects().filter { $0.kind != EffectKinds.notify }
            #expect(count == 1)
            #expect(backfills.count == 1)
        }
    }

    @Test func `lists page by the order of the follows`() async throws {
        try await GraphWorld.run { world in
            let ben = world.aUser(1)
            let others = (2..<12).map { world.aUser($0) }
            for other in others {
                _ = try await world.follow(ben, by: other)
                try await world.settle()
            }

            var seen: [UserID] = []
            var upper = Int64.max
            while true {
                let page = try await world.store.page(
                    of: .followers,
                    of: ben,
                    above: 0,
                    below: upper,
                    ascending: false,
                    limit: 3
                )
                guard let last = page.last else { break }
                seen += page.map(\.user)
                upper = last.id
            }

            #expect(Set(seen) == Set(others))
            #expect(seen.count == others.count)
        }
    }
}
