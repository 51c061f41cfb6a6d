import Contracts
import HTTP
import JSON
import Sharding
import TestSupport
import Testing

@testable import Posts

@Suite struct `Places and people` {
    @Test func `public posts are listed by the place that their authors name`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let first = try await world.post(
                "status=a&place[name]=Café+Nord&place[latitude]=60.2&place[longitude]=24.9",
                by: author
            )
            _ = try await world.post(
                "status=b&place[name]=Café+Nord&visibility=private",
                by: author
            )
            let second = try await world.post("status=c&place[name]=CAFÉ+nord", by: author)

            try await world.runEffects(shuffled: true, twice: true)

            let path = "/api/tessera/v1/timelines/place/caf%C3%A9%20nord"
            let listed = try await world.ask(.get, path)
            #expect(
                try listed.json.array?.compactMap { $0["id"]?.string } == ["\(second)", "\(first)"]
            )
            let place = try listed.json[1]?["place"]
            #expect(place?["name"]?.string == "Café Nord")
            #expect(place?["latitude"]?.double == 60.2)
            _ = try await world.ask(
                .put,
                "/api/v1/statuses/\(first)",
                "status=a&place[name]=",
                as: author
            )
            try await world.runEffects()
            let left = try await world.ask(.get, path)
            #expect(try left.json.array?.count == 1)
        }
    }

    @Test func `whoever is on a photo is told, is listed, and can take themselves off for good`()
        async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let person = world.aUser(2, onShard: 1)
            let photo = world.aPhoto(of: author)
            let form = "status=us&media_ids[]=\(photo)&people[0][account_id]=\(person)"
            let post = try await world.post(
                form + "&people[0][media_id]=\(photo)&people[0][x]=0.5&people[0][y]=0.25",
                by: author
            )
            try await world.runEffects(shuffled: true, twice: true)
            let tagged = "/api/tessera/v1/accounts/\(person)/tagged"
            let listed = try await world.ask(.get, tagged)
            #expect(try listed.json.array?.compactMap { $0["id"]?.string } == ["\(post)"])
            #expect(try listed.json[0]?["people"]?[0]?["account_id"]?.string == "\(person)")
            #expect(try listed.json[0]?["people"]?[0]?["x"]?.double == 0.5)
            #expect(try await world.outbox(EffectKinds.notify) > 0)

            let untagged = try await world.ask(
                .post,
                "/api/tessera/v1/statuses/\(post)/untag",
                as: person
            )
            _ = try await world.ask(.put, "/api/v1/statuses/\(post)", form, as: author)
            try await world.runEffects(shuffled: true, twice: true)

            #expect(untagged.status == 200)
            #expect(try untagged.json["people"] == nil)
            let left = try await world.ask(.get, tagged)
            #expect(try left.json.array?.isEmpty == true)
        }
    }

    @Test(arguments: [
        "people[0][account_id]=x", "people[0][account_id]=5&people[0][x]=2&people[0][y]=0",
        "people[0][account_id]=5&people[0][media_id]=7", "place[name]=a&place[latitude]=1",
        "place[name]=a&place[latitude]=91&place[longitude]=0", "comments=friends",
    ])
    func `what cannot be is refused`(form: String) async throws {
        try await PostsWorld.run { world in
            let answer = try await world.ask(
                .post,
                "/api/v1/statuses",
                "status=a&" + form,
                as: world.aUser(1)
            )

            #expect(answer.status == 422)
        }
    }

    @Test func `nobody is put on a photo by somebody whom they have blocked`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let person = world.aUser(2, onShard: 1)
            world.neighbours.blocks = [[person, author]]

            let answer = try await world.ask(
                .post,
                "/api/v1/statuses",
                "status=a&people[0][account_id]=\(person)",
                as: author
            )

            #expect(answer.status == 422)
        }
    }

    @Test func `comments can be for followers or for nobody, and that holds below them as well`()
        async throws
    {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let follower = world.aUser(2, onShard: 1)
            let stranger = world.aUser(3)
            world.neighbours.follows = [[follower, author]]
            let some = try await world.post("status=a&comments=followers", by: author)
            let none = try await world.post("status=b&comments=nobody", by: author)
            let comment = try await world.post("status=c&in_reply_to_id=\(some)", by: follower)

            for (parent, user, status) in [
                (some, follower, 200), (some, stranger, 403), (comment, stranger, 403),
                (none, follower, 403), (none, author, 200),
            ] {
                let answer = try await world.ask(
                    .post,
                    "/api/v1/statuses",
                    "status=d&in_reply_to_id=\(parent)",
                    as: user
                )
                #expect(answer.status == status, "\(parent) \(user)")
            }
        }
    }
}
