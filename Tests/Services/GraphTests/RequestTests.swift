import Contracts
import Database
import Graph
import Jobs
import Sharding
import Shards
import Testing

struct RequestTests {
    @Test func `a private account is asked first, and its yes is a follow`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            try await world.close(ben)

            let asked = try await world.follow(ben, by: ann)
            let early = try await world.settle()
            let waiting = try await world.list(.requests, of: ben)
            let before = try await world.store.relationships(of: ben, to: [ann])[0]
            let yes = try await world.store.decide(about: ann, by: ben, .accept, traceparent: nil)
            let late = try await world.settle()

            #expect(asked.requested && !asked.following)
            #expect(early == ["feed.cleanup"], "nothing of the account's reaches the feed yet")
            #expect(waiting == [ann])
            #expect(before.requestedBy && !before.followedBy)
            #expect(yes?.followedBy == true && yes?.requestedBy == false)
            #expect(late == ["feed.backfill"])
            let after = try await world.store.relationships(of: ann, to: [ben])[0]
            #expect(after.following && !after.requested)
            #expect(try await world.followers(of: ben) == [ann])
            #expect(try await world.list(.requests, of: ben).isEmpty)
            #expect(try await world.count(.followers, of: ben) == 1)
            #expect(try await world.count(.following, of: ann) == 1)
        }
    }

    @Test func `a request that is refused or taken back leaves nothing, and may be made again`()
        async throws
    {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            try await world.close(ben)
            for isRefused in [true, false, true] {
                _ = try await world.follow(ben, by: ann)
                try await world.settle()
                #expect(try await world.list(.requests, of: ben) == [ann])
                if isRefused {
                    _ = try await world.store.decide(about: ann, by: ben, .reject, traceparent: nil)
                } else {
                    try await world.unfollow(ben, by: ann)
                }
                try await world.settle()

                let after = try await world.store.relationships(of: ann, to: [ben])[0]
                #expect(!after.requested && !after.following)
                #expect(try await world.list(.requests, of: ben).isEmpty)
            }
            let nothing = try await world.store.decide(
                about: ann,
                by: ben,
                .accept,
                traceparent: nil
            )
            #expect(nothing == nil)
            #expect(try await world.count(.followers, of: ben) == 0)
        }
    }

    @Test func `going public lets nobody in by itself`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            try await world.close(ben)
            _ = try await world.follow(ben, by: ann)
            try await world.settle()

            try await world.close(ben, false)
            let still = try await world.store.relationships(of: ann, to: [ben])[0]
            let again = try await world.follow(ben, by: ann)
            try await world.settle()

            #expect(still.requested && !still.following)
            #expect(again.following && !again.requested)
            #expect(try await world.followers(of: ben) == [ann])
        }
    }

    @Test func `a follower who is removed is gone at once, whatever arrives later`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            try await world.close(ben)
            _ = try await world.follow(ben, by: ann)
            try await world.settle()
            _ = try await world.store.decide(about: ann, by: ben, .accept, traceparent: nil)
            let yes = try await world.takeEffects()
            let removed = try await world.store.decide(
                about: ann,
                by: ben,
                .remove,
                traceparent: nil
            )
            let no = try await world.takeEffects()
            #expect(removed?.followedBy == false)

            for effects in [yes + no, no + yes].shuffled() {
                try await world.perform(effects)
                #expect(try await world.followers(of: ben).isEmpty)
            }
            try await world.settle()

            let after = try await world.store.relationships(of: ann, to: [ben])[0]
            #expect(!after.following && !after.requested)
            #expect(try await world.followers(of: ben).isEmpty)
            #expect(try await world.count(.followers, of: ben) == 0)
            #expect(try await world.count(.following, of: ann) == 0)
        }
    }

    @Test func `a block ends a request, and whom one blocks cannot be let in`() async throws {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            try await world.close(ben)
            _ = try await world.follow(ben, by: ann)
            try await world.settle()
            _ = try await world.store.block(ann, by: ben, traceparent: nil)

            let hidden = try await world.list(.requests, of: ben)
            let yes = try await world.store.decide(about: ann, by: ben, .accept, traceparent: nil)
            try await world.settle()

            #expect(hidden.isEmpty && yes == nil)
            let after = try await world.store.relationships(of: ann, to: [ben])[0]
            #expect(!after.requested && !after.following)
        }
    }

    @Test func `what a follower wants of a follow is kept, and the other side hears of it`()
        async throws
    {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)
            func follow(_ wishes: FollowWishes) async throws -> RelationshipEntity {
                let answer = try await world.store.follow(
                    ben,
                    by: ann,
                    on: FollowTerms(),
                    wanting: wishes,
                    traceparent: nil
                )
                try await world.settle()
                return answer
            }
            func isNotified() async throws -> String {
                try await world.cluster.psql(ben, "SELECT notify FROM graph.follower_active")
            }

            let plain = try await follow(FollowWishes())
            #expect(plain.showingReblogs && !plain.notifying)
            let loud = try await follow(FollowWishes(reblogs: false, notify: true))
            #expect(!loud.showingReblogs && loud.notifying)
            #expect(try await isNotified() == "t")
            let same = try await follow(FollowWishes())
            #expect(!same.showingReblogs && same.notifying)
            #expect(try await world.count(.followers, of: ben) == 1)
            try await world.unfollow(ben, by: ann)
            try await world.settle()
            let anew = try await follow(FollowWishes())
            #expect(anew.showingReblogs && !anew.notifying)
            #expect(try await isNotified() == "f")
        }
    }

    @Test func `lists of one's own are kept, and a close friend who leaves one is withdrawn`()
        async throws
    {
        try await GraphWorld.run { world in
            let ann = world.aUser(0), ben = world.aUser(1)

            for list in [OwnList.closeFriends, .restricted] {
                _ = try await world.store.add(ben, to: list, of: ann)
                let kept = try await world.store.add(ben, to: list, of: ann)
                #expect(list == .closeFriends ? kept.closeFriend : kept.restricting)
            }
            let note = try await world.store.note("from school", about: ben, by: ann)
            #expect(note.note == "from school")
            #expect(try await world.list(.closeFriends, of: ann) == [ben])
            _ = try await world.store.block(ben, by: ann, traceparent: nil)

            let after = try await world.store.relationships(of: ann, to: [ben])[0]
            #expect(!after.closeFriend && after.restricting)
            let withdrawn = try await world.cluster.psql(
                ann,
                "SELECT subject || ' ' || other FROM control.withdrawn WHERE kind = 3"
            )
            #expect(withdrawn == "\(ben) \(ann)")
        }
    }
}

extension GraphWorld {
    /// The account lets followers in one by one, or everybody.
    func close(_ user: UserID, _ isPrivate: Bool = true) async throws {
        try await cluster.psql(
            user,
            """
            INSERT INTO accounts.account (bucket, id, username, username_folded, locked)
            VALUES (\(user.bucket), \(user), 'u\(user)', 'u\(user)', \(isPrivate))
            ON CONFLICT (bucket, id) DO UPDATE SET locked = excluded.locked
            """
        )
    }

    func list(_ list: EdgeList, of user: UserID) async throws -> [UserID] {
        try await store.page(
            of: list,
            of: user,
            above: 0,
            below: .max,
            ascending: false,
            limit: 100
        ).map(\.user)
    }
}
