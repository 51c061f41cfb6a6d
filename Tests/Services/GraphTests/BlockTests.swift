import Contracts
import Database
import Graph
import Jobs
import Postgres
import Sharding
import Testing

struct BlockTests {
    @Test func `a block ends the follows of both sides and hides them from each other`()
        async throws
    {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            _ = try await world.follow(ben, by: ann)
            _ = try await world.follow(ann, by: ben)
            try await world.settle()

            let answer = try await world.store.block(ben, by: ann, traceparent: nil)
            let hidden = try await world.followers(of: ann)
            try await world.settle()

            #expect(answer.blocking && !answer.following)
            #expect(hidden.isEmpty)
            let back = try await world.store.relationships(of: ben, to: [ann])[0]
            #expect(back.blockedBy && !back.following && !back.followedBy)
            let lists = [
                try await world.followers(of: ann), try await world.following(of: ann),
                try await world.followers(of: ben), try await world.following(of: ben),
            ]
            #expect(lists == [[], [], [], []])
            for user in [ann, ben] {
                let counts = [
                    try await world.count(.following, of: user),
                    try await world.count(.followers, of: user),
                ]
                #expect(counts == [0, 0])
            }
        }
    }

    @Test func `a user who blocks cannot follow, and one who is blocked neither`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            _ = try await world.store.block(ben, by: ann, traceparent: nil)

            let own = try await world.follow(ben, by: ann)
            let seen = try await world.store.terms(of: ben, for: ann).blockSeen

            #expect(!own.following)
            #expect(BlockVersion.stands(seen))
        }
    }

    @Test func `a block that was in flight ends a follow which did not know of it`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            // Ben asked before the block, and his write came after it.
            let terms = try await world.store.terms(of: ben, for: ann)
            _ = try await world.store.block(ben, by: ann, traceparent: nil)
            let follow = try await world.store.follow(
                ann,
                by: ben,
                on: terms,
                traceparent: nil
            )

            try await world.settle()

            #expect(follow.following)
            let after = try await world.store.relationships(of: ben, to: [ann])[0]
            #expect(!after.following && after.blockedBy)
        }
    }

    @Test func `a block that arrives late or twice does not undo a later follow`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            _ = try await world.store.block(ben, by: ann, traceparent: nil)
            let block = try await world.takeEffects()
            _ = try await world.store.unblock(ben, by: ann, traceparent: nil)
            let unblock = try await world.takeEffects()
            _ = try await world.follow(ann, by: ben)

            try await world.perform((block + block + unblock).shuffled())
            try await world.settle()

            let after = try await world.store.relationships(of: ben, to: [ann])[0]
            #expect(after.following && !after.blockedBy)
        }
    }

    @Test func `a block that was lifted before it was heard of still ends an earlier follow`()
        async throws
    {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            _ = try await world.follow(ann, by: ben)
            try await world.settle()
            _ = try await world.store.block(ben, by: ann, traceparent: nil)
            let block = try await world.takeEffects().filter { $0.kind == "graph.block" }
            _ = try await world.store.unblock(ben, by: ann, traceparent: nil)
            let unblock = try await world.takeEffects()

            // The lifting is heard of first.
            try await world.perform(unblock + block)
            try await world.settle()

            let after = try await world.store.relationships(of: ben, to: [ann])[0]
            #expect(!after.following && !after.blockedBy)
        }
    }

    @Test func `a follow and a block that meet never both stand`() async throws {
        try await GraphWorld.run { world in
            for number in 0..<20 {
                let ann = world.aUser(2 * number), ben = world.aUser(2 * number + 1)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { _ = try await world.follow(ben, by: ann) }
                    group.addTask {
                        _ = try await world.store.block(ben, by: ann, traceparent: nil)
                    }
                    try await group.waitForAll()
                }

                let after = try await world.store.relationships(of: ann, to: [ben])[0]
                #expect(after.blocking && !after.following)
            }
        }
    }

    @Test func `mutes are kept and lifted`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)

            let muted = try await world.store.mute(
                ben,
                by: ann,
                notifications: true,
                seconds: nil
            )
            let brief = try await world.store.mute(
                ben,
                by: ann,
                notifications: false,
                seconds: 3_600
            )
            let lifted = try await world.store.unmute(ben, by: ann)

            #expect(muted.muting && muted.mutingNotifications)
            #expect(brief.muting && !brief.mutingNotifications)
            #expect(!lifted.muting)
        }
    }
}
