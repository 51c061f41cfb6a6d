import Contracts
import HTTP
import JSON
import Jobs
import Sharding
import TestSupport
import Testing

@testable import Posts

@Suite struct `Posts of a deleted account` {
    @Test func `they are deleted, and their effects and counts follow; likes are taken back`()
        async throws
    {
        try await PostsWorld.run { world in
            let gone = world.aUser(1)
            let other = world.aUser(2, onShard: 1)
            let liked = try await world.post("status=liked", by: other)
            _ = try await world.ask(.post, "/api/v1/statuses/\(liked)/favourite", "", as: gone)
            try await world.runEffects()
            let photo = world.aPhoto(of: gone)
            var posts = [try await world.post("status=x&media_ids[]=\(photo)", by: gone)]
            for number in 0..<4 { posts.append(try await world.post("status=\(number)", by: gone)) }
            try await world.shards[0].psql(
                """
                INSERT INTO posts.post (bucket, id, author, text, visibility, created_at)
                SELECT bucket, id + n * 65536, author, 'copy', visibility, now()
                FROM posts.post, generate_series(1, 30000, 100) AS n
                WHERE id = \(posts[0]);
                DELETE FROM jobs.outbox
                """
            )

            var runs = 0
            while try await world.runDeparture(of: gone) {
                runs += 1
                try #require(runs < 20)
                try await world.runEffects()
            }

            #expect(runs > 0, "it comes in batches")
            let left = try await world.shards[0].psql(
                "SELECT count(*) FROM posts.post WHERE author = \(gone) AND deleted_at IS NULL"
            )
            #expect(left == "0")
            #expect(try await world.shards[0].psql("SELECT count(*) FROM posts.attachment") == "0")
            let read = try await world.ask(.get, "/api/v1/statuses/\(liked)")
            #expect(try read.json["favourites_count"]?.int == 0)
        }
    }

    @Test func `each deleted post is retracted once, however often the effect comes`() async throws
    {
        try await PostsWorld.run { world in
            let gone = world.aUser(1)
            for number in 0..<3 { _ = try await world.post("status=\(number)", by: gone) }
            for shard in world.shards { try await shard.psql("DELETE FROM jobs.outbox") }

            for _ in 0..<3 { _ = try await world.runDeparture(of: gone) }

            #expect(try await world.outbox("feed.retract") == 3)
        }
    }
}

extension PostsWorld {
    /// One run of the effect as a worker runs it; true if it wants to come again.
    fileprivate func runDeparture(of user: UserID) async throws -> Bool {
        let effect = ClaimedEffect(
            kind: EffectKinds.postsAuthorGone,
            owner: user.bucket,
            id: 1,
            payload: UserEffect(user: user).jsonBytes,
            createdAt: .now
        )
        do {
            try await asWorker { service in
                let handler = try #require(service.effects.first { $0.kind == effect.kind })
                try await handler.handle(effect)
            }
            return false
        } catch EffectError.later {
            return true
        }
    }
}
