import Contracts
import HTTP
import JSON
import Sharding
import TestSupport
import Testing

@testable import Notifications

struct NotificationRouteTests {
    private typealias Cause = NotificationEffect

    @Test func `a list is paged by its Link headers and filtered by kind and account`() async throws
    {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1), ben = world.aUser(2), cas = world.aUser(3)
            for number in 0..<5 {
                try await world.notify(
                    Cause(
                        recipient: ann,
                        kind: .favourite,
                        actor: ben,
                        post: world.aPost(number, by: ann)
                    )
                )
            }
            try await world.notify(Cause(recipient: ann, kind: .follow, actor: cas))

            let first = try await world.ask(.get, "/api/v1/notifications?limit=4", as: ann)
            let next = try #require(
                first.headers["Link"]?.split(separator: ">").first?.split(separator: "?").last
            )
            let second = try await world.ask(.get, "/api/v1/notifications?\(next)", as: ann)
            let ids = [first, second].flatMap { $0.json.array ?? [] }.compactMap {
                $0["id"]?.string
            }

            #expect(ids.count == 6)
            #expect(ids.compactMap { Int64($0) } == ids.compactMap { Int64($0) }.sorted(by: >))
            let follows = try await world.list(of: ann, "?types[]=follow&types[]=poll")
            let others = try await world.list(of: ann, "?exclude_types[]=favourite")
            let byCas = try await world.list(of: ann, "?account_id=\(cas)")
            #expect([follows, others, byCas].allSatisfy { $0 == ["follow \(cas)"] })
            let one = try await world.ask(.get, "/api/v1/notifications/\(ids[0])", as: ann)
            #expect(one.json["group_key"]?.string == "follow-0")
            let stranger = try await world.ask(.get, "/api/v1/notifications/\(ids[0])", as: ben)
            #expect(stranger.status == 404)
        }
    }

    @Test func `what is dismissed or cleared is off the list, and its effect brings nothing back`()
        async throws
    {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1), ben = world.aUser(2), cas = world.aUser(3)
            let causes = [ben, cas].map { Cause(recipient: ann, kind: .follow, actor: $0) }
            try await world.notifyTogether(causes)
            let list = try await world.ask(.get, "/api/v1/notifications", as: ann)
            let id = try #require(
                list.json.array?.first { $0["account"]?["id"]?.string == "\(ben)" }?["id"]?.string
            )

            try await world.ask(.post, "/api/v1/notifications/\(id)/dismiss", as: ann)
            let twice = try await world.ask(.post, "/api/v1/notifications/\(id)/dismiss", as: ann)
            try await world.notifyTogether(causes)
            let dismissed = try await world.list(of: ann)
            try await world.ask(.post, "/api/v1/notifications/clear", as: ann)
            try await world.notifyTogether(causes)
            let cleared = try await world.list(of: ann)
            try await world.notify(Cause(recipient: ann, kind: .follow, actor: world.aUser(4)))
            let later = try await world.list(of: ann)

            #expect(twice.status == 404)
            #expect(dismissed == ["follow \(cas)"])
            #expect(cleared.isEmpty)
            #expect(later == ["follow \(world.aUser(4))"])
        }
    }

    @Test func `likes of one post are one group`() async throws {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1)
            let post = world.aPost(1, by: ann), other = world.aPost(2, by: ann)
            let fans = (10..<22).map { world.aUser($0) }
            for fan in fans {
                try await world.notify(
                    Cause(recipient: ann, kind: .favourite, actor: fan, post: post)
                )
            }
            try await world.notify(
                Cause(recipient: ann, kind: .mention, actor: fans[0], post: other),
                Cause(recipient: ann, kind: .mention, actor: fans[1], post: post)
            )

            let answer = try await world.ask(.get, "/api/v2/notifications", as: ann)
            let groups = answer.json["notification_groups"]?.array ?? []

            #expect(
                groups.compactMap { $0["type"]?.string } == ["mention", "mention", "favourite"]
            )
            let likes = try #require(groups.last)
            #expect(likes["group_key"]?.string == "favourite-\(post)")
            #expect(likes["notifications_count"]?.int == 12)
            let samples = likes["sample_account_ids"]?.array?.compactMap(\.string)
            #expect(samples == fans.reversed().prefix(8).map(\.description))
            #expect(answer.json["statuses"]?.array?.count == 2)
            let accounts = try await world.ask(
                .get,
                "/api/v2/notifications/favourite-\(post)/accounts",
                as: ann
            )
            #expect(accounts.json.array?.count == 12)
            let one = try await world.ask(.get, "/api/v2/notifications/favourite-\(post)", as: ann)
            #expect(one.json["notification_groups"]?.array?.count == 1)
            try await world.ask(.post, "/api/v2/notifications/favourite-\(post)/dismiss", as: ann)
            let left = try await world.list(of: ann)
            #expect(left.count == 2)
            let strange = try await world.ask(.get, "/api/v2/notifications/poll-x", as: ann)
            #expect(strange.status == 404)
        }
    }

    @Test func `a mark moves on, never back, and counts what is unread`() async throws {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1)
            for number in 2..<6 {
                try await world.notify(
                    Cause(recipient: ann, kind: .follow, actor: world.aUser(number))
                )
            }
            let list = try await world.ask(.get, "/api/v1/notifications", as: ann)
            let ids = list.json.array?.compactMap { $0["id"]?.string } ?? []
            func unread() async throws -> Int? {
                let path = "/api/v1/notifications/unread_count"
                return try await world.ask(.get, path, as: ann).json["count"]?.int
            }
            func mark(_ id: String) async throws -> JSONValue {
                let form = "notifications[last_read_id]=\(id)"
                return try await world.ask(.post, "/api/v1/markers", form, as: ann).json
            }

            let before = try await unread()
            let marked = try await mark(ids[1])
            let after = try await unread()
            let back = try await mark(ids[3])
            let same = try await unread()

            #expect([before, after, same] == [4, 1, 1])
            #expect(marked["notifications"]?["last_read_id"]?.string == ids[1])
            #expect(back["notifications"]?["last_read_id"]?.string == ids[1])
            #expect(back["notifications"]?["version"]?.int == 1)
            let markers = try await world.ask(
                .get,
                "/api/v1/markers?timeline[]=home&timeline[]=notifications",
                as: ann
            )
            #expect(markers.json["home"] == nil)
            #expect(markers.json["notifications"] != nil)
        }
    }
}
