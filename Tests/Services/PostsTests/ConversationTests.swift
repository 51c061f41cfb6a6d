import Contracts
import HTTP
import JSON
import Sharding
import Testing

@Suite struct `Conversations` {
    @Test func `answers stand under what they answer, across shards`() async throws {
        try await PostsWorld.run { world in
            let one = world.aUser(1)
            let two = world.aUser(2, onShard: 1)
            let root = try await world.post("status=root", by: one)
            let first = try await world.post("status=a&in_reply_to_id=\(root)", by: two)
            let second = try await world.post("status=b&in_reply_to_id=\(root)", by: one)
            let nested = try await world.post("status=c&in_reply_to_id=\(first)", by: one)

            let early = try await world.ask(.get, "/api/v1/statuses/\(root)/context", as: two)
            #expect(try ids(early, "descendants") == [first], "the author sees it at once")
            try await world.runEffects(shuffled: true, twice: true)

            let context = try await world.ask(.get, "/api/v1/statuses/\(root)/context")
            let up = try await world.ask(.get, "/api/v1/statuses/\(nested)/context")
            let status = try await world.ask(.get, "/api/v1/statuses/\(root)")
            #expect(try ids(context, "descendants") == [first, nested, second])
            #expect(try ids(up, "ancestors") == [root, first])
            #expect(try status.json["replies_count"]?.int == 2)
        }
    }

    @Test func `a deleted answer is gone from count and list, in whichever order that is heard`()
        async throws
    {
        try await PostsWorld.run { world in
            let root = try await world.post("status=root", by: world.aUser(1))
            for number in 0..<8 {
                let author = world.aUser(2 + number, onShard: 1)
                let reply = try await world.post("status=a&in_reply_to_id=\(root)", by: author)
                if number % 2 == 0 {
                    _ = try await world.ask(.delete, "/api/v1/statuses/\(reply)", as: author)
                }
            }

            try await world.runEffects(shuffled: true, twice: true)

            let status = try await world.ask(.get, "/api/v1/statuses/\(root)")
            let context = try await world.ask(.get, "/api/v1/statuses/\(root)/context")
            #expect(try status.json["replies_count"]?.int == 4)
            #expect(try ids(context, "descendants").count == 4)
        }
    }

    private func ids(_ answer: PostsWorld.Answer, _ member: String) throws -> [PostID] {
        try require(answer.json[member]?.array).map {
            try require($0["id"]?.string.flatMap { PostID($0) })
        }
    }
}
