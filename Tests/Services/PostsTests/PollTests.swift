import Contracts
import Counters
import HTTP
import JSON
import Sharding
import TestSupport
import Testing

@testable import Posts

@Suite struct `Polls` {
    private static let form =
        "status=which&poll[options][]=a&poll[options][]=b&poll[options][]=c&poll[expires_in]=600"

    @Test func `of many votes of one person one counts, and the counts are exact`() async throws {
        try await PostsWorld.run { world in
            let poll = try await world.post(Self.form, by: world.aUser(1))
            let voters = (10..<30).map { world.aUser($0, onShard: $0 % 2) }

            let answers = try await withThrowingTaskGroup(of: Int.self) { group in
                for (number, voter) in voters.enumerated() {
                    for choice in 0..<3 {
                        group.addTask {
                            try await world.vote("\((number + choice) % 3)", in: poll, by: voter)
                                .status
                        }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }

            #expect(answers.count { $0 == 200 } == 20)
            #expect(answers.count { $0 == 422 } == 40)
            let read = try await world.ask(.get, "/api/v1/polls/\(poll)", as: voters[0])
            let options = try require(read.json["options"]?.array)
            #expect(options.reduce(0) { $0 + ($1["votes_count"]?.int ?? 0) } == 20)
            #expect(try read.json["votes_count"]?.int == 20)
            #expect(try read.json["voters_count"]?.int == 20)
            #expect(try read.json["voted"]?.bool == true)
            #expect(try read.json["own_votes"]?.array?.count == 1)
            let status = try await world.ask(.get, "/api/v1/statuses/\(poll)", as: world.aUser(40))
            #expect(try status.json["poll"]?["voted"]?.bool == false)
            #expect(try status.json["poll"]?["options"]?.array?.count == 3)
        }
    }

    @Test func `several options count where several may be chosen, and one voter`() async throws {
        try await PostsWorld.run { world in
            let poll = try await world.post(Self.form + "&poll[multiple]=1", by: world.aUser(1))
            let single = try await world.post(Self.form, by: world.aUser(1))
            let voter = world.aUser(2, onShard: 1)

            let voted = try await world.vote("0", "2", in: poll, by: voter)

            #expect(try voted.json["voters_count"]?.int == 1)
            #expect(try voted.json["votes_count"]?.int == 2)
            #expect(try await world.vote("0", "1", in: single, by: voter).status == 422)
            for choice in ["3", "-1", "x"] {
                #expect(try await world.vote(choice, in: single, by: voter).status == 422)
            }
            #expect(try await world.vote("0", in: single, by: world.aUser(1)).status == 422)
        }
    }

    @Test func `after the end nobody votes, and those who did are told`() async throws {
        try await PostsWorld.run { world in
            let author = world.aUser(1)
            let poll = try await world.post(Self.form + "&poll[hide_totals]=1", by: author)
            for number in 2..<5 {
                let voted = try await world.vote("0", in: poll, by: world.aUser(number, onShard: 1))
                #expect(try voted.json["options"]?[0]?["votes_count"]?.isNull == true)
            }
            try await world.shards[0].psql(
                """
                UPDATE posts.post
                SET details = jsonb_set(details, '{poll,expires}', '1000000')
                WHERE id = \(poll)
                """
            )

            let late = try await world.vote("0", in: poll, by: world.aUser(9))
            try await world.runEffects(twice: true)

            #expect(late.status == 422)
            let read = try await world.ask(.get, "/api/v1/polls/\(poll)")
            #expect(try read.json["expired"]?.bool == true)
            #expect(try read.json["options"]?[0]?["votes_count"]?.int == 3)
            var told: Set<String> = []
            for shard in world.shards {
                let rows = try await shard.psql(
                    """
                    SELECT payload->>'recipient' FROM jobs.outbox
                    WHERE kind = 'notifications.notify' AND payload->>'kind' = 'poll'
                    """
                )
                told.formUnion(rows.split(separator: "\n").map(String.init))
            }
            let voters = (2..<5).map { world.aUser($0, onShard: 1) }
            #expect(told == Set(([author] + voters).map(\.description)))
        }
    }

    @Test(arguments: [
        "status=a&poll[options][]=b&poll[expires_in]=600",
        "status=a&poll[options][]=b&poll[options][]=b&poll[expires_in]=600",
        "status=a&poll[options][]=b&poll[options][]=c&poll[expires_in]=1",
        "status=&poll[options][]=b&poll[options][]=c&poll[expires_in]=600",
    ])
    func `a poll that cannot be is refused`(form: String) async throws {
        try await PostsWorld.run { world in
            let answer = try await world.ask(.post, "/api/v1/statuses", form, as: world.aUser(1))

            #expect(answer.status == 422)
        }
    }

    @Test func `who may not see the post sees no poll and does not vote`() async throws {
        try await PostsWorld.run { world in
            let poll = try await world.post(Self.form + "&visibility=private", by: world.aUser(1))

            let read = try await world.ask(.get, "/api/v1/polls/\(poll)", as: world.aUser(2))
            let voted = try await world.vote("0", in: poll, by: world.aUser(2))

            #expect([read.status, voted.status] == [404, 404])
        }
    }
}

extension PostsWorld {
    fileprivate func vote(
        _ choices: String...,
        in poll: PostID,
        by voter: UserID
    ) async throws -> Answer {
        let form = choices.map { "choices[]=\($0)" }.joined(separator: "&")
        return try await ask(.post, "/api/v1/polls/\(poll)/votes", form, as: voter)
    }
}
