import Contracts
import HTTP
import JSON
import Sharding
import Testing

@testable import Posts

@Suite struct `Hashtags` {
    @Test func `public posts with a hashtag are found by it, however it is written`() async throws {
        try await PostsWorld.run { world in
            let ana = world.aUser(1)
            let ben = world.aUser(2, onShard: 1)
            let first = try await world.post("status=a+%23Straße", by: ana)
            let second = try await world.post("status=b+%23STRASSE+%23night", by: ben)
            _ = try await world.post("status=c+%23strasse&visibility=unlisted", by: ana)
            _ = try await world.post("status=d+%23strasse&visibility=private", by: ana)
            _ = try await world.reblog(first, by: ben)

            try await world.runEffects(shuffled: true, twice: true)

            #expect(
                try await world.list("timelines/tag/stra%C3%9Fe") == ["\(second)", "\(first)"]
            )
            #expect(try await world.list("timelines/tag/strasse?none[]=night") == ["\(first)"])
            #expect(try await world.list("timelines/tag/strasse?all[]=night") == ["\(second)"])
            #expect(try await world.list("timelines/tag/none?any[]=night") == ["\(second)"])
            #expect(try await world.list("timelines/tag/strasse?only_media=true").isEmpty)
            #expect(try await world.list("timelines/tag/strasse?remote=true").isEmpty)
            let wrong = try await world.ask(.get, "/api/v1/timelines/tag/a%20b")
            #expect(wrong.status == 404)
        }
    }

    @Test func `edits and deletions take posts out, in whichever order they are heard of`()
        async throws
    {
        try await PostsWorld.run { world in
            let ana = world.aUser(1)
            var posts: [PostID] = []
            for number in 0..<9 {
                posts.append(try await world.post("status=\(number)+%23one", by: ana))
            }
            for post in posts[0..<3] {
                _ = try await world.ask(.delete, "/api/v1/statuses/\(post)", as: ana)
            }
            for post in posts[3..<6] {
                let path = "/api/v1/statuses/\(post)"
                _ = try await world.ask(.put, path, "status=now+%23two", as: ana)
            }

            try await world.runEffects(shuffled: true, twice: true)

            let one = try await world.list("timelines/tag/one")
            let two = try await world.list("timelines/tag/two")
            #expect(one == posts[6..<9].reversed().map(\.description))
            #expect(two == posts[3..<6].reversed().map(\.description))
        }
    }

    @Test func `a timeline is paged past posts that the viewer may not see`() async throws {
        try await PostsWorld.run { world in
            let hidden = world.aUser(2)
            let viewer = world.aUser(3, onShard: 1)
            world.neighbours.blocks = [[hidden, viewer]]
            var shown: [PostID] = []
            for number in 0..<12 {
                let author = number % 4 == 3 ? world.aUser(1) : hidden
                let id = try await world.post("status=\(number)+%23t", by: author)
                if number % 4 == 3 { shown.append(id) }
            }
            try await world.runEffects()

            for path in ["/api/v1/timelines/tag/t", "/api/v1/timelines/public"] {
                var seen: [String] = []
                var next: String? = path + "?limit=2"
                while let page = next {
                    let answer = try await world.ask(.get, page, as: viewer)
                    seen += try require(answer.json.array).compactMap { $0["id"]?.string }
                    next = world.nextPage(answer)
                }
                #expect(seen == shown.reversed().map(\.description), "\(path)")
            }
        }
    }

    @Test func `the public timeline has posts of all shards and neither comments nor reblogs`()
        async throws
    {
        try await PostsWorld.run { world in
            let one = world.aUser(1)
            let two = world.aUser(2, onShard: 1)
            let first = try await world.post("status=a", by: one)
            let second = try await world.post("status=b", by: two)
            _ = try await world.post("status=c&in_reply_to_id=\(first)", by: two)
            _ = try await world.post("status=d&visibility=unlisted", by: one)
            _ = try await world.reblog(first, by: two)
            let photo = world.aPhoto(of: one)
            let third = try await world.post("status=e&media_ids[]=\(photo)", by: one)

            #expect(
                try await world.list("timelines/public") == ["\(third)", "\(second)", "\(first)"]
            )
            #expect(
                try await world.list("timelines/public?min_id=\(first)&limit=1") == ["\(second)"]
            )
            let media = try await world.list("timelines/public?only_media=true")
            #expect(media == ["\(third)"])
        }
    }

    @Test func `followed hashtags are listed, and their posts are handed to the home feed`()
        async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let reader = world.aUser(2, onShard: 1)
            let post = try await world.post("status=a+%23Tiles", by: author)
            _ = try await world.post("status=b+%23tiles&in_reply_to_id=\(post)", by: author)
            try await world.runEffects()

            for tag in ["tiles", "Night", "tiles"] {
                let answer = try await world.ask(.post, "/api/v1/tags/\(tag)/follow", as: reader)
                #expect(try answer.json["following"]?.bool == true)
            }

            let followed = try await world.list("followed_tags", as: reader)
            #expect(followed == ["night", "tiles"])
            let found = try await world.service.client.taggedPosts(
                for: reader,
                after: nil,
                limit: 40
            )
            #expect(found.map(\.id) == [post])
            let one = try await world.ask(.get, "/api/v1/tags/TILES", as: reader)
            #expect(try one.json["following"]?.bool == true)
            _ = try await world.ask(.post, "/api/v1/tags/tiles/unfollow", as: reader)
            #expect(try await world.list("followed_tags", as: reader) == ["night"])
        }
    }
}

extension PostsWorld {
    /// Where the `Link` header of an answer leads to as the next page, without the server.
    func nextPage(_ answer: Answer) -> String? {
        guard let links = answer.headers["Link"],
            let next = links.split(separator: ", ").first(where: { $0.hasSuffix("rel=\"next\"") }),
            let start = next.firstRange(of: "http://tessera.test")?.upperBound,
            let end = next.firstIndex(of: ">")
        else { return nil }
        return String(next[start..<end])
    }
}
