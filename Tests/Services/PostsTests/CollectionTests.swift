import Contracts
import HTTP
import JSON
import Sharding
import Testing

@Suite struct `Collections` {
    private static let path = "/api/tessera/v1/collections"

    @Test func `posts are put in once, bookmarked with it, and listed by their owner alone`()
        async throws
    {
        try await PostsWorld.run { world in
            let owner = world.aUser(1)
            let other = world.aUser(3)
            let collection = try await world.collection("Tiles", of: owner)
            var posts: [PostID] = []
            for number in 0..<5 {
                posts.append(
                    try await world.post("status=\(number)", by: world.aUser(2, onShard: 1))
                )
            }

            for post in posts + posts {
                let added = try await world.ask(
                    .post,
                    "\(Self.path)/\(collection)/statuses",
                    "status_id=\(post)",
                    as: owner
                )
                #expect(added.status == 200)
            }

            let own = try await world.ask(.get, "\(Self.path)/\(collection)", as: owner)
            #expect(try own.json["items_count"]?.int == 5)
            let first = try await world.ask(
                .get,
                "\(Self.path)/\(collection)/statuses?limit=3",
                as: owner
            )
            let second = try await world.ask(.get, try require(world.nextPage(first)), as: owner)
            let listed = try (first.json.array ?? []) + (second.json.array ?? [])
            #expect(
                listed.compactMap { $0["id"]?.string } == posts.reversed().map(\.description)
            )
            #expect(listed.allSatisfy { $0["bookmarked"]?.bool == true })
            for method in [Method.get, .put, .delete] {
                let form = method == .put ? "name=mine" : ""
                let answer = try await world.ask(
                    method,
                    "\(Self.path)/\(collection)",
                    form,
                    as: other
                )
                #expect(answer.status == 404)
            }
            let foreign = try await world.ask(
                .post,
                "\(Self.path)/\(collection)/statuses",
                "status_id=\(posts[0])",
                as: other
            )
            #expect(foreign.status == 404)
        }
    }

    @Test func `what is taken out stays bookmarked; what is bookmarked no more is taken out`()
        async throws
    {
        try await PostsWorld.run { world in
            let owner = world.aUser(1)
            let one = try await world.collection("One", of: owner)
            let two = try await world.collection("Two", of: owner)
            let post = try await world.post("status=a", by: world.aUser(2, onShard: 1))
            for collection in [one, two] {
                _ = try await world.ask(
                    .post,
                    "\(Self.path)/\(collection)/statuses",
                    "status_id=\(post)",
                    as: owner
                )
            }

            let taken = try await world.ask(
                .delete,
                "\(Self.path)/\(one)/statuses/\(post)",
                as: owner
            )
            #expect(try taken.json["items_count"]?.int == 0)
            #expect(try await world.list("bookmarks", as: owner) == ["\(post)"])
            _ = try await world.ask(.post, "/api/v1/statuses/\(post)/unbookmark", as: owner)

            let left = try await world.ask(.get, Self.path, as: owner)
            #expect(try left.json.array?.compactMap { $0["items_count"]?.int } == [0, 0])
            let gone = try await world.ask(.delete, "\(Self.path)/\(two)", as: owner)
            #expect(gone.status == 200)
            let names = try await world.ask(.get, Self.path, as: owner)
            #expect(try names.json.array?.compactMap { $0["name"]?.string } == ["One"])
        }
    }

    @Test func `a name is there once, is not blank, and has its bound`() async throws {
        try await PostsWorld.run { world in
            let owner = world.aUser(1)
            let other = try await world.collection("Other", of: owner)
            _ = try await world.collection("Tiles", of: owner)

            for name in ["Tiles", "+", "", String(repeating: "x", count: 101)] {
                let made = try await world.ask(.post, Self.path, "name=\(name)", as: owner)
                let path = "\(Self.path)/\(other)"
                let renamed = try await world.ask(.put, path, "name=\(name)", as: owner)
                #expect([made.status, renamed.status] == [422, 422], "\(name)")
            }

            let path = "\(Self.path)/\(other)"
            let renamed = try await world.ask(.put, path, "name=Night", as: owner)
            #expect(try renamed.json["name"]?.string == "Night")
        }
    }

    @Test func `a repeated key makes one collection`() async throws {
        try await PostsWorld.run { world in
            let owner = world.aUser(1)

            let first = try await world.ask(.post, Self.path, "name=a", as: owner, key: "k")
            let again = try await world.ask(.post, Self.path, "name=a", as: owner, key: "k")

            #expect(first.status == 200)
            #expect(again.body == first.body)
        }
    }
}

extension PostsWorld {
    fileprivate func collection(_ name: String, of owner: UserID) async throws -> String {
        let answer = try await ask(.post, "/api/tessera/v1/collections", "name=\(name)", as: owner)
        return try require(answer.json["id"]?.string)
    }
}
