import Contracts
import EventLoops
import Events
import Sharding
import TestSupport
import Testing

@testable import Streaming

struct StreamHubTests {
    @Test func `what is told on one node comes to clients of all nodes`() async throws {
        try await StreamingWorld.run { world in
            let ann = world.aUser(1), ben = world.aUser(2)
            let first = try await world.aNode(), second = try await world.aNode()
            let ears = [Ear(user: ann, session: nil), Ear(user: ann, session: nil)]
            let other = Ear(user: ben, session: nil)
            _ = try await first.listen(ears[0], to: .user, after: nil)
            _ = try await second.listen(ears[1], to: .notifications, after: nil)
            _ = try await second.listen(other, to: .user, after: nil)

            try await world.tell(.update, 1, ann)
            try await world.tell(.notification, 2, ann)
            try await world.tell(.delete, 1, ann, ben)
            try await world.until { ears[0].heard.count >= 3 && !other.heard.isEmpty }
            try await world.until { !ears[1].heard.isEmpty }

            #expect(ears[0].heard == ["user update 1", "user notification 2", "user delete 1"])
            #expect(ears[1].heard == ["user:notification notification 2"])
            #expect(other.heard == ["user delete 1"])
        }
    }

    @Test func `who comes back on another node gets what came meanwhile, once`() async throws {
        try await StreamingWorld.run { world in
            let ann = world.aUser(1)
            let first = try await world.aNode(), second = try await world.aNode()
            let before = Ear(user: ann, session: nil)
            _ = try await first.listen(before, to: .user, after: nil)
            for number in 1...3 { try await world.tell(.update, Int64(number), ann) }
            try await world.until { before.heard.count == 3 }
            let place = try #require(before.place)

            // The node is gone, and nobody listens for a while.
            first.leave(before)
            first.stop()
            for number in 4...6 { try await world.tell(.update, Int64(number), ann) }
            let after = Ear(user: ann, session: nil)
            async let more: Void = world.tell(.update, 7, ann)
            _ = try await second.listen(after, to: .user, after: place)
            try await more
            try await world.tell(.update, 8, ann)
            try await world.until { after.heard.count >= 5 }

            #expect(before.heard == (1...3).map { "user update \($0)" })
            #expect(after.heard == (4...8).map { "user update \($0)" })
            #expect(after.gaps.isEmpty)
        }
    }

    @Test func `a client that resumes beside another one disturbs it not`() async throws {
        try await StreamingWorld.run { world in
            let ann = world.aUser(1)
            let hub = try await world.aNode()
            let live = Ear(user: ann, session: nil), back = Ear(user: ann, session: nil)
            _ = try await hub.listen(live, to: .user, after: nil)
            for number in 1...4 { try await world.tell(.update, Int64(number), ann) }
            try await world.until { live.heard.count == 4 }

            _ = try await hub.listen(back, to: .user, after: 2)
            try await world.until { back.heard.count == 2 }
            try await world.tell(.update, 5, ann)
            try await world.until { live.heard.count == 5 && back.heard.count == 3 }

            #expect(live.heard == (1...5).map { "user update \($0)" })
            #expect(back.heard == (3...5).map { "user update \($0)" })
        }
    }

    @Test func `without a bus everything comes, later`() async throws {
        try await StreamingWorld.run(withBus: false) { world in
            let ann = world.aUser(1)
            let hub = try await world.aNode()
            let ear = Ear(user: ann, session: nil)
            _ = try await hub.listen(ear, to: .user, after: nil)

            try await world.tell(.update, 1, ann, rings: false)
            try await world.tell(.update, 2, ann, rings: false)
            try await world.until { ear.heard.count >= 2 }

            #expect(ear.heard == ["user update 1", "user update 2"])
        }
    }

    @Test func `what cannot be fetched now is told later, and what is hidden is not`() async throws
    {
        try await StreamingWorld.run { world in
            let ann = world.aUser(1)
            let hub = try await world.aNode()
            let ear = Ear(user: ann, session: nil)
            _ = try await hub.listen(ear, to: .user, after: nil)
            world.contents.isAway = true
            world.contents.hidden = [2]

            for number in 1...3 { try await world.tell(.update, Int64(number), ann) }
            try await world.loop.sleep(for: .milliseconds(100))
            let early = ear.heard
            world.contents.isAway = false
            try await world.until { ear.heard.count >= 2 }

            #expect(early.isEmpty)
            #expect(ear.heard == ["user update 1", "user update 3"])
        }
    }

    @Test func `a place that is no longer kept is told as a gap`() async throws {
        try await StreamingWorld.run { world in
            let ann = world.aUser(1)
            let hub = try await world.aNode()
            let ear = Ear(user: ann, session: nil)

            _ = try await hub.listen(ear, to: .user, after: 77)
            try await world.tell(.update, 1, ann)
            try await world.until { !ear.heard.isEmpty }

            #expect(ear.gaps == [0])
            #expect(ear.heard == ["user update 1"])
        }
    }

    @Test func `public posts go to who listens to them, by hashtag too`() async throws {
        try await StreamingWorld.run { world in
            let hub = try await world.aNode()
            let all = Ear(user: world.aUser(1), session: nil)
            let tagged = Ear(user: world.aUser(2), session: nil)
            _ = try await hub.listen(
                all,
                to: try #require(StreamName("public", tag: nil)),
                after: nil
            )
            let cats = try #require(StreamName("hashtag", tag: "Cats"))
            _ = try await hub.listen(tagged, to: cats, after: nil)
            world.contents.tags = [2: "cats"]
            world.contents.hidden = [3]
            // The subscription is on its way to the bus while the first post is told.
            try await world.loop.sleep(for: .milliseconds(50))

            for post in 1...3 { world.tellEverybody(Int64(post), .published) }
            world.tellEverybody(2, .deleted)
            world.tellEverybody(3, .deleted)
            try await world.until { all.heard.count >= 3 && tagged.heard.count >= 2 }
            try await world.loop.sleep(for: .milliseconds(50))

            #expect(all.heard == ["public update 1", "public update 2", "public delete 2"])
            #expect(tagged.heard == ["hashtag/cats update 2", "hashtag/cats delete 2"])
        }
    }

    @Test func `a client whose session ends is told, within the bound`() async throws {
        try await StreamingWorld.run { world in
            let ann = world.aUser(1)
            let hub = try await world.aNode()
            let session = SessionID(rawValue: 1 << 16)
            let ear = Ear(user: ann, session: session)
            let other = Ear(user: ann, session: SessionID(rawValue: 2 << 16))
            for ear in [ear, other] { _ = try await hub.listen(ear, to: .user, after: nil) }

            world.contents.over = [session]
            try await world.until { ear.isRevoked }

            #expect(!other.isRevoked)
        }
    }

    @Test func `one user has a bounded number of clients`() async throws {
        try await StreamingWorld.run { world in
            let ann = world.aUser(1)
            let hub = try await world.aNode()
            var ears: [Ear] = []
            for _ in 0..<StreamHub.clientsPerUser {
                let ear = Ear(user: ann, session: nil)
                ears.append(ear)
                let isIn = try await hub.listen(ear, to: .user, after: nil)
                #expect(isIn)
            }

            let late = Ear(user: ann, session: nil)
            let first = try await hub.listen(late, to: .user, after: nil)
            hub.leave(ears[0])
            let second = try await hub.listen(late, to: .user, after: nil)

            #expect(!first && second)
        }
    }
}
