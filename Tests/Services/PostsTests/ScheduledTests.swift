import Contracts
import HTTP
import JSON
import Jobs
import Sharding
import TestSupport
import Testing

@testable import Posts

@Suite struct `Scheduled posts` {
    private func schedule(
        _ form: String,
        by author: UserID,
        in world: PostsWorld
    ) async throws -> PostID {
        let time = (Timestamp.now + .seconds(3600)).iso8601
        return try await world.post(
            form + "&scheduled_at=" + time.replacing(":", with: "%3A"),
            by: author
        )
    }

    /// One run of the effect; true where it wants to come again.
    private func run(_ id: PostID, by author: UserID, in world: PostsWorld) async throws -> Bool {
        let effect = ClaimedEffect(
            kind: EffectKinds.postsScheduled,
            owner: id.bucket,
            id: 1,
            payload: PostEffect(post: id, author: author).jsonBytes
        )
        do {
            try await world.asWorker { service in
                try await service.effects.first { $0.kind == effect.kind }?.handle(effect)
            }
            return false
        } catch EffectError.later {
            return true
        }
    }

    @Test func `a post is published at its time, once, with all that it has`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let photo = world.aPhoto(of: author)
            let id = try await schedule(
                "status=later+%23t&media_ids[]=\(photo)",
                by: author,
                in: world
            )
            #expect(try await run(id, by: author, in: world), "it is too early")
            #expect(try await world.list("accounts/\(author)/statuses").isEmpty)
            let waiting = try await world.ask(.get, "/api/v1/scheduled_statuses", as: author)
            #expect(try waiting.json[0]?["params"]?["text"]?.string == "later #t")
            let taken = try await world.ask(
                .post,
                "/api/v1/statuses",
                "status=now&media_ids[]=\(photo)",
                as: author
            )
            #expect(taken.status == 422, "its photo is taken")
            try await world.shards[0].psql("UPDATE posts.scheduled SET scheduled_at = now()")

            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask { _ = try await run(id, by: author, in: world) }
                }
                try await group.waitForAll()
            }

            let list = try await world.ask(.get, "/api/v1/accounts/\(author)/statuses")
            #expect(try list.json.array?.count == 1)
            #expect(try list.json[0]?["media_attachments"]?.array?.count == 1)
            #expect(try list.json[0]?["id"]?.string != "\(id)")
            #expect(try await world.outbox(EffectKinds.feedFanOut) == 1)
            #expect(try await world.list("scheduled_statuses", as: author).isEmpty)
            let published = try require(try list.json[0]?["id"]?.string)
            _ = try await world.ask(.delete, "/api/v1/statuses/\(published)", as: author)
            #expect(try await world.outbox(EffectKinds.mediaDetached) == 2)
        }
    }

    @Test func `what is taken back is never published, and its photos are free`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let photo = world.aPhoto(of: author)
            let id = try await schedule("status=a&media_ids[]=\(photo)", by: author, in: world)
            let path = "/api/v1/scheduled_statuses/\(id)"

            let foreign = try await world.ask(.delete, path, as: world.aUser(2))
            let gone = try await world.ask(.delete, path, as: author)
            let again = try await world.ask(.delete, path, as: author)

            #expect([foreign.status, gone.status, again.status] == [404, 200, 404])
            #expect(try await run(id, by: author, in: world) == false)
            #expect(try await world.list("accounts/\(author)/statuses").isEmpty)
            _ = try await world.post("status=b&media_ids[]=\(photo)", by: author)
        }
    }

    @Test func `the time can be changed; one that is too near is refused`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let id = try await schedule("status=a", by: author, in: world)
            let path = "/api/v1/scheduled_statuses/\(id)"

            let moved = try await world.ask(
                .put,
                path,
                "scheduled_at=2100-01-01T00%3A00%3A00Z",
                as: author
            )

            #expect(try moved.json["scheduled_at"]?.string == "2100-01-01T00:00:00.000Z")
            #expect(try await world.outbox(EffectKinds.postsScheduled) == 2)
            for time in ["2020-01-01T00%3A00%3A00Z", "soon", Timestamp.now.iso8601] {
                let refused = try await world.ask(.put, path, "scheduled_at=\(time)", as: author)
                #expect(refused.status == 422)
            }
        }
    }
}

@Suite struct `Drafts` {
    private static let path = "/api/tessera/v1/drafts"

    @Test func `a draft is kept as it is typed and ends with its post`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let form = "status=so+far+&visibility=unlisted"
            let made = try await world.ask(.post, Self.path, form, as: author, key: "k")
            let again = try await world.ask(.post, Self.path, form, as: author, key: "k")
            #expect(again.body == made.body)
            let id = try require(made.json["id"]?.string)

            let changed = try await world.ask(
                .put,
                "\(Self.path)/\(id)",
                "status=more&version=1",
                as: author
            )
            let stale = try await world.ask(
                .put,
                "\(Self.path)/\(id)",
                "status=other&version=1",
                as: author
            )

            #expect(try made.json["params"]?["status"]?.string == "so far ")
            #expect(try changed.json["version"]?.int == 2)
            #expect(stale.status == 409)
            for method in [Method.get, .delete] {
                let path = "\(Self.path)/\(id)"
                #expect(try await world.ask(method, path, as: world.aUser(3)).status == 404)
            }
            _ = try await world.post("status=done&draft_id=\(id)", by: author)
            let left = try await world.ask(.get, Self.path, as: author)
            #expect(try left.json.array?.isEmpty == true)
        }
    }
}
