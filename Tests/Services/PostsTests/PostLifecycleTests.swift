import Contracts
import HTTP
import JSON
import Posts
import Sharding
import Testing

@Suite struct `Posts on two shards` {
    @Test func `a post lives from its publication over an edit to its deletion`() async throws {
        try await PostsWorld.run { world in
            for shard in 0...1 {
                let author = world.aUser(1 + shard, onShard: shard)
                let photo = world.aPhoto(of: author)

                let made = try await world.ask(
                    .post,
                    "/api/v1/statuses",
                    "status=Hello+%23Spring&media_ids[]=\(photo)&sensitive=true&spoiler_text=cw"
                        + "&language=en",
                    as: author
                )
                let id = try made.id
                #expect(made.status == 200)
                #expect(id.bucket == author.bucket)
                #expect(try made.json["media_attachments"]?[0]?["id"]?.string == "\(photo)")
                #expect(try made.json["tags"]?[0]?["name"]?.string == "spring")

                let read = try await world.ask(.get, "/api/v1/statuses/\(id)")
                #expect(try read.json["content"]?.string == made.json["content"]?.string)
                #expect(try read.json["favourited"] == nil)
                #expect(try read.json["language"]?.string == "en")

                let edited = try await world.ask(
                    .put,
                    "/api/v1/statuses/\(id)",
                    "status=Changed",
                    as: author
                )
                #expect(edited.status == 200)
                #expect(try edited.json["content"]?.string == "<p>Changed</p>")
                #expect(try edited.json["edited_at"]?.string != nil)
                #expect(try edited.json["media_attachments"]?.array?.count == 1)

                let history = try await world.ask(.get, "/api/v1/statuses/\(id)/history")
                #expect(try history.json.array?.count == 2)
                #expect(
                    try history.json[0]?["content"]?.string == made.json["content"]?.string
                )
                let source = try await world.ask(
                    .get,
                    "/api/v1/statuses/\(id)/source",
                    as: author
                )
                #expect(try source.json["text"]?.string == "Changed")

                let deleted = try await world.ask(.delete, "/api/v1/statuses/\(id)", as: author)
                #expect(deleted.status == 200)
                #expect(try deleted.json["text"]?.string == "Changed")
                let gone = try await world.ask(.get, "/api/v1/statuses/\(id)", as: author)
                #expect(gone.status == 404)
                let again = try await world.ask(.delete, "/api/v1/statuses/\(id)", as: author)
                #expect(again.status == 404)
            }
            #expect(try await world.outbox(EffectKinds.feedFanOut) == 2)
            #expect(try await world.outbox(EffectKinds.feedRetract) == 2)
        }
    }

    @Test func `what belongs to others cannot be edited, deleted, pinned or attached`()
        async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let stranger = world.aUser(2, onShard: 1)
            let neighbour = UserID(rawValue: author.rawValue + 64 * 1024)
            let id = try await world.post("status=mine", by: author)
            let photo = world.aPhoto(of: author)

            for other in [stranger, neighbour] {
                let edit = try await world.ask(
                    .put,
                    "/api/v1/statuses/\(id)",
                    "status=x",
                    as: other
                )
                let delete = try await world.ask(.delete, "/api/v1/statuses/\(id)", as: other)
                let source = try await world.ask(.get, "/api/v1/statuses/\(id)/source", as: other)
                let pin = try await world.ask(.post, "/api/v1/statuses/\(id)/pin", as: other)
                let attach = try await world.ask(
                    .post,
                    "/api/v1/statuses",
                    "media_ids[]=\(photo)",
                    as: other
                )
                #expect(
                    [edit, delete, source, pin, attach].map(\.status) == [404, 404, 404, 422, 422]
                )
            }
        }
    }

    @Test func `a photo is attached to one post only, even by two posts at once`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let photo = world.aPhoto(of: author)

            let answers = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        try await world.ask(
                            .post,
                            "/api/v1/statuses",
                            "media_ids[]=\(photo)",
                            as: author
                        ).status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }

            #expect(answers.sorted() == [200, 422, 422, 422, 422, 422])
        }
    }

    @Test(arguments: [
        ("", 422), ("status=+", 422), ("status=" + String(repeating: "x", count: 501), 422),
        ("status=" + String(repeating: "x", count: 500), 200),
        ("status=a&visibility=everybody", 422), ("status=a&media_ids[]=1", 422),
        ("status=a&media_ids[]=x", 422), ("status=a&poll[options][]=b", 422),
        ("status=a&in_reply_to_id=99", 404), ("status=a%00b", 400), ("status=%FF", 400),
    ])
    func `input that cannot become a post is refused`(form: String, status: Int) async throws {
        try await PostsWorld.run { world in
            let answer = try await world.ask(
                .post,
                "/api/v1/statuses",
                form,
                as: world.aUser(1)
            )

            #expect(answer.status == status)
        }
    }

    @Test func `an author's page is paged both ways by its links`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            var ids: [PostID] = []
            for number in 0..<7 {
                ids.append(try await world.post("status=\(number)", by: author))
            }
            let page = "/api/v1/accounts/\(author)/statuses"

            let first = try await world.ask(.get, page + "?limit=3&only_media=false")
            let older = try await world.ask(.get, page + "?limit=3&max_id=\(ids[4])")
            let newer = try await world.ask(.get, page + "?limit=2&min_id=\(ids[1])")
            let since = try await world.ask(.get, page + "?limit=2&since_id=\(ids[1])")
            let end = try await world.ask(.get, page + "?limit=3&max_id=\(ids[1])")

            func shown(_ answer: PostsWorld.Answer) throws -> [PostID] {
                try require(answer.json.array).map {
                    try require($0["id"]?.string.flatMap { PostID($0) })
                }
            }
            #expect(try shown(first) == [ids[6], ids[5], ids[4]])
            #expect(
                first.headers["Link"]
                    == "<http://tessera.test\(page)?limit=3&only_media=false&max_id=\(ids[4])>; "
                    + "rel=\"next\", <http://tessera.test\(page)?limit=3&only_media=false&min_id="
                    + "\(ids[6])>; rel=\"prev\""
            )
            #expect(try shown(older) == [ids[3], ids[2], ids[1]])
            #expect(try shown(newer) == [ids[3], ids[2]])
            #expect(try shown(since) == [ids[6], ids[5]])
            #expect(try shown(end) == [ids[0]])
            #expect(end.headers["Link"]?.contains("next") == false)
        }
    }

    @Test func `recent posts of many authors come from every shard, newest first`() async throws {
        try await PostsWorld.run { world in
            let authors = (1...6).map { world.aUser($0, onShard: $0 % 2) }
            var ids: [PostID] = []
            for round in 0..<3 {
                for author in authors {
                    ids.append(try await world.post("status=\(round)", by: author))
                }
            }
            _ = try await world.post("status=secret&visibility=direct", by: authors[0])
            _ = try await world.post("status=answer&in_reply_to_id=\(ids[0])", by: authors[1])

            let all = try await world.service.client.recentPosts(
                of: authors,
                before: nil,
                after: nil,
                limit: 100
            )
            let some = try await world.service.client.recentPosts(
                of: authors,
                before: all[3].id,
                after: all[9].id,
                limit: 4
            )

            #expect(all.map(\.id) == ids.sorted(by: >))
            #expect(some == Array(all[4...7]))
        }
    }
}
