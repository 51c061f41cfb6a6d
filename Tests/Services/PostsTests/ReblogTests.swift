import Contracts
import HTTP
import JSON
import Sharding
import TestSupport
import Testing

@Suite struct `Reblogs` {
    @Test func `a reblog is a post of its own that shows the original, once for each actor`()
        async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let actor = world.aUser(2, onShard: 1)
            let original = try await world.post("status=pass+me+on", by: author)

            let answers = try await withThrowingTaskGroup(of: PostsWorld.Answer.self) { group in
                for _ in 0..<6 { group.addTask { try await world.reblog(original, by: actor) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            try await world.runEffects(shuffled: true, twice: true)

            let ids = try Set(answers.map { try $0.id })
            #expect(ids.count == 1)
            #expect(try answers[0].json["reblog"]?["id"]?.string == "\(original)")
            #expect(try answers[0].json["account"]?["id"]?.string == "\(actor)")
            #expect(try answers[0].json["reblog"]?["account"]?["id"]?.string == "\(author)")
            let read = try await world.ask(.get, "/api/v1/statuses/\(original)", as: actor)
            #expect(try read.json["reblogged"]?.bool == true)
            #expect(try read.json["reblogs_count"]?.int == 1)
            #expect(try read.json["reblog"]?.isNull == true)
            #expect(try await world.list("statuses/\(original)/reblogged_by") == ["\(actor)"])
            #expect(try await world.list("accounts/\(actor)/statuses") == ids.map(\.description))
            #expect(
                try await world.list("accounts/\(actor)/statuses?exclude_reblogs=true").isEmpty
            )
        }
    }

    @Test func `what is done to a reblog is done to its original`() async throws {
        try await PostsWorld.run { world in
            let original = try await world.post("status=original", by: world.aUser(1))
            let reblog = try await world.reblog(original, by: world.aUser(2)).id
            let reader = world.aUser(3, onShard: 1)

            let liked = try await world.ask(
                .post,
                "/api/v1/statuses/\(reblog)/favourite",
                as: reader
            )
            let reply = try await world.post("status=a&in_reply_to_id=\(reblog)", by: reader)
            let again = try await world.reblog(reblog, by: reader)
            let edited = try await world.ask(
                .put,
                "/api/v1/statuses/\(reblog)",
                "status=mine",
                as: world.aUser(2)
            )

            #expect(try liked.id == original)
            #expect(try liked.json["favourites_count"]?.int == 1)
            let read = try await world.ask(.get, "/api/v1/statuses/\(reply)")
            #expect(try read.json["in_reply_to_id"]?.string == "\(original)")
            #expect(try again.json["reblog"]?["id"]?.string == "\(original)")
            #expect(edited.status == 404)
        }
    }

    @Test func `taking it back ends it everywhere, in whichever order that is heard`() async throws
    {
        try await PostsWorld.run { world in
            let original = try await world.post("status=original", by: world.aUser(1))
            let actors = (2..<8).map { world.aUser($0, onShard: $0 % 2) }
            for actor in actors { _ = try await world.reblog(original, by: actor) }
            for actor in actors.prefix(4) { try await world.unreblog(original, by: actor) }
            _ = try await world.reblog(original, by: actors[0])

            try await world.runEffects(shuffled: true, twice: true)

            let read = try await world.ask(.get, "/api/v1/statuses/\(original)", as: actors[1])
            #expect(try read.json["reblogs_count"]?.int == 3)
            #expect(try read.json["reblogged"]?.bool == false)
            let list = try await world.list("statuses/\(original)/reblogged_by")
            #expect(Set(list) == Set([actors[0], actors[4], actors[5]].map(\.description)))
            #expect(try await world.list("accounts/\(actors[1])/statuses").isEmpty)
        }
    }

    @Test func `private posts are passed on by their author alone, direct ones by nobody`()
        async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let follower = world.aUser(2, onShard: 1)
            world.neighbours.follows = [[follower, author]]
            let kept = try await world.post("status=a&visibility=private", by: author)
            let direct = try await world.post("status=b&visibility=direct", by: author)

            let own = try await world.reblog(kept, by: author, "visibility=public")

            #expect(try own.json["visibility"]?.string == "private")
            #expect(try await world.reblog(kept, by: follower).status == 404)
            #expect(try await world.reblog(direct, by: author).status == 404)
            let open = try await world.post("status=c", by: author)
            let refused = try await world.reblog(open, by: follower, "visibility=direct")
            let quiet = try await world.reblog(open, by: follower, "visibility=private")
            #expect(refused.status == 422)
            let strangers = try await world.ask(.get, "/api/v1/statuses/\(quiet.id)")
            #expect(strangers.status == 404)
        }
    }

    @Test func `an original that may not be seen is not seen by way of a reblog`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let actor = world.aUser(2)
            let viewer = world.aUser(3, onShard: 1)
            let original = try await world.post("status=secret", by: author)
            let reblog = try await world.reblog(original, by: actor).id

            world.neighbours.blocks = [[author, viewer]]

            for path in ["", "/context", "/reblogged_by", "/favourited_by", "/history"] {
                let answer = try await world.ask(
                    .get,
                    "/api/v1/statuses/\(reblog)\(path)",
                    as: viewer
                )
                #expect(answer.status == 404, "\(path)")
            }
            let list = try await world.ask(.get, "/api/v1/accounts/\(actor)/statuses", as: viewer)
            #expect(try list.json.array?.isEmpty == true)
            #expect(try await world.reblog(original, by: viewer).status == 404)
        }
    }

    @Test func `a deleted post takes its reblogs along, those that are heard of late as well`()
        async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let original = try await world.post("status=soon+gone", by: author)
            let actors = (2..<9).map { world.aUser($0, onShard: $0 % 2) }
            for actor in actors.prefix(3) { _ = try await world.reblog(original, by: actor) }
            try await world.runEffects()
            for actor in actors.dropFirst(3) { _ = try await world.reblog(original, by: actor) }

            _ = try await world.ask(.delete, "/api/v1/statuses/\(original)", as: author)
            for _ in 0..<3 { try await world.runEffects(shuffled: true, twice: true) }

            for shard in world.shards {
                let left = try await shard.psql(
                    "SELECT count(*) FROM posts.post WHERE deleted_at IS NULL"
                )
                #expect(left == "0")
                let active = try await shard.psql("SELECT count(*) FROM posts.reblog WHERE active")
                #expect(active == "0")
            }
        }
    }
}

extension PostsWorld {
    func reblog(
        _ post: PostID,
        by user: UserID,
        _ form: String = ""
    ) async throws -> Answer {
        try await ask(.post, "/api/v1/statuses/\(post)/reblog", form, as: user)
    }

    func unreblog(_ post: PostID, by user: UserID) async throws {
        let answer = try await ask(.post, "/api/v1/statuses/\(post)/unreblog", as: user)
        guard answer.status == 200 else { throw Refused(answer) }
    }

    /// The ids of the entities of a list, in its order.
    func list(_ path: String, as user: UserID? = nil) async throws -> [String] {
        let answer = try await ask(.get, "/api/v1/" + path, as: user)
        guard answer.status == 200 else { throw Refused(answer) }
        return try require(answer.json.array).compactMap { $0["id"]?.string }
    }
}
