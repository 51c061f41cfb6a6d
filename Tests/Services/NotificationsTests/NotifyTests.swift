import Contracts
import Events
import HTTP
import JSON
import Sharding
import Shards
import TestSupport
import Testing

@testable import Notifications

struct NotifyTests {
    private typealias Cause = NotificationEffect

    @Test func `a cause notifies once, however often its effect comes`() async throws {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1), ben = world.aUser(2)
            let post = world.aPost(1, by: ann)
            let like = Cause(recipient: ann, kind: .favourite, actor: ben, post: post)
            let follow = Cause(recipient: ann, kind: .follow, actor: ben)

            try await world.notify(like, follow, like)
            try await world.notifyTogether([follow, like, follow])

            let shown = try await world.list(of: ann)
            #expect(shown == ["follow \(ben)", "favourite \(ben) \(post)"])
            let others = try await world.list(of: ben)
            #expect(others.isEmpty)
        }
    }

    @Test(arguments: [[1, 2], [2, 1], [1, 2, 1, 2], [2, 2, 1]])
    func `what is taken back is gone, in whichever order it comes`(_ versions: [Int64])
        async throws
    {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1), ben = world.aUser(2)
            let post = world.aPost(1, by: ann)

            for version in versions {
                try await world.notify(
                    Cause(
                        recipient: ann,
                        kind: .favourite,
                        actor: ben,
                        post: post,
                        version: version,
                        active: version % 2 == 1
                    )
                )
            }
            let after = try await world.list(of: ann)
            try await world.notify(
                Cause(recipient: ann, kind: .favourite, actor: ben, post: post, version: 3)
            )
            let again = try await world.list(of: ann)

            #expect(after.isEmpty)
            #expect(again == ["favourite \(ben) \(post)"])
        }
    }

    @Test func `nobody hears of whom they block or have muted, then or later`() async throws {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1), ben = world.aUser(2), cas = world.aUser(3)
            let dee = world.aUser(4)
            let causes = [ben, cas, dee].map { Cause(recipient: ann, kind: .follow, actor: $0) }
            world.neighbours.blocks = [[cas, ann]]
            world.neighbours.silenced = [[ann, dee]]

            try await world.notifyTogether(causes)
            let first = try await world.list(of: ann)
            world.neighbours.blocks = [[ann, ben]]
            let second = try await world.list(of: ann)

            #expect(first == ["follow \(ben)"])
            #expect(second.isEmpty)
        }
    }

    @Test func `one's own doings notify nobody`() async throws {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1)

            try await world.notify(
                Cause(recipient: ann, kind: .favourite, actor: ann, post: world.aPost(1, by: ann))
            )

            let shown = try await world.list(of: ann)
            #expect(shown.isEmpty)
        }
    }

    @Test func `a post that may not be seen is not told of`() async throws {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1), ben = world.aUser(2)
            let post = world.aPost(1, by: ben), other = world.aPost(2, by: ben)
            world.neighbours.hidden = [post]

            try await world.notify(
                Cause(recipient: ann, kind: .mention, actor: ben, post: post),
                Cause(recipient: ann, kind: .mention, actor: ben, post: other)
            )

            let shown = try await world.list(of: ann)
            #expect(shown == ["mention \(ben) \(other)"])
        }
    }

    @Test func `a kind comes from whom it is wanted`() async throws {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1), friend = world.aUser(2), stranger = world.aUser(3)
            let post = world.aPost(1, by: ann)
            world.neighbours.follows = [[ann, friend]]
            let path = "/api/tessera/v1/notification_settings"

            let changed = try await world.ask(
                .patch,
                path,
                "favourite=followed&follow=nobody",
                as: ann
            )
            try await world.notifyTogether(
                [friend, stranger].flatMap { actor in
                    [
                        Cause(recipient: ann, kind: .favourite, actor: actor, post: post),
                        Cause(recipient: ann, kind: .follow, actor: actor),
                        Cause(recipient: ann, kind: .mention, actor: actor, post: post),
                    ]
                }
            )
            let wrong = try await world.ask(.patch, path, "poll=sometimes", as: ann)

            #expect(changed.json["favourite"]?.string == "followed")
            #expect(changed.json["mention"]?.string == "everyone")
            let shown = Set(try await world.list(of: ann))
            #expect(
                shown == [
                    "favourite \(friend) \(post)", "mention \(friend) \(post)",
                    "mention \(stranger) \(post)",
                ]
            )
            #expect(wrong.status == 422)
        }
    }

    @Test func `a flood of likes is written in batches, and bounded`() async throws {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1)
            let post = world.aPost(1, by: ann)
            let likes = 1_400
            try await world.notify(Cause(recipient: ann, kind: .follow, actor: world.aUser(9)))
            let before = try await Self.transactions(world, ann)

            for start in stride(from: 0, to: likes, by: 200) {
                try await world.notifyTogether(
                    (start..<start + 200).map {
                        Cause(
                            recipient: ann,
                            kind: .favourite,
                            actor: world.aUser(10 + $0),
                            post: post
                        )
                    }
                )
            }

            let rows = try await world.cluster.psql(
                ann,
                "SELECT count(*) FROM notifications.notification WHERE kind = 3"
            )
            let kept = try #require(Int(rows.filter(\.isNumber)))
            #expect(kept >= NotificationStore.kept && kept < NotificationStore.kept + 256)
            // A transaction for each like would be as many as there are likes.
            let after = try await Self.transactions(world, ann)
            #expect(after - before < likes / 4)
            // What came in between is not pushed out by a flood of another kind.
            let follows = try await world.list(of: ann, "?types[]=follow")
            #expect(follows == ["follow \(world.aUser(9))"])
        }
    }

    private static func transactions(_ world: NotificationsWorld, _ user: UserID) async throws
        -> Int
    {
        let text = try await world.cluster.psql(
            user,
            "SELECT count(DISTINCT xmin::text) FROM notifications.notification"
        )
        return try #require(Int(text.filter(\.isNumber)))
    }

    @Test func `who listens gets an event for each notification, in its transaction`() async throws
    {
        try await NotificationsWorld.run { world in
            let ann = world.aUser(1), ben = world.aUser(2)
            let log = EventLog(database: world.app)
            let start = try await log.listen(ann)
            let like = Cause(
                recipient: ann,
                kind: .favourite,
                actor: ben,
                post: world.aPost(1, by: ann)
            )

            try await world.notify(like, like, Cause(recipient: ann, kind: .follow, actor: ben))
            let events = await log.events(after: [StreamPlace(user: ann, seq: start.seq)])
            let ids = events.map { NotificationID(rawValue: $0.subject) }
            let found = try await world.service.notifications(ids, of: ann)

            #expect(events.map(\.kind) == [.notification, .notification])
            #expect(ids.map { found[$0]?.kind } == [.favourite, .follow])
        }
    }
}
