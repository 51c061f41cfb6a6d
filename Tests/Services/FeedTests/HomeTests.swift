import Contracts
import Database
import EventLoops
import Feed
import ServiceKit
import Sharding
import Shards
import TestSupport
import Testing

struct HomeTests {
    @Test
    func `a post is in the feed of each follower, on whichever shard, and in its author's own`()
        async throws
    {
        try await FeedWorld.run { world in
            let author = world.aUser(0)
            let readers = (1..<8).map { world.aUser($0) }
            world.startWorkers()
            for reader in readers {
                try await world.follow(author, by: reader)
                _ = try await world.home(of: reader)
            }
            try await world.settle()

            let post = try await world.publish(by: author)
            let own = try await world.home(of: author)
            try await world.settle()

            #expect(own == [post])
            for reader in readers {
                let entries = try await world.entries(of: reader)
                let home = try await world.home(of: reader)
                #expect(entries == [post])
                #expect(home == [post])
            }
        }
    }

    @Test func `a follow brings the author's posts, an unfollow takes them away at once`()
        async throws
    {
        try await FeedWorld.run { world in
            let author = world.aUser(0), reader = world.aUser(1)
            world.startWorkers()
            _ = try await world.home(of: reader)
            var expected: [PostID] = []
            for _ in 0..<5 { expected.insert(try await world.publish(by: author), at: 0) }
            try await world.follow(author, by: reader)
            try await world.settle()

            let followed = try await world.home(of: reader)
            try await world.unfollow(author, by: reader)
            let unfollowed = try await world.home(of: reader)
            try await world.settle()
            let entries = try await world.entries(of: reader)
            try await world.follow(author, by: reader)
            try await world.settle()
            let again = try await world.home(of: reader)

            #expect(followed == expected)
            #expect(unfollowed.isEmpty)
            #expect(entries.isEmpty)
            #expect(again == expected)
        }
    }

    @Test func `pages go both ways and stay the same while others post`() async throws {
        try await FeedWorld.run { world in
            let author = world.aUser(0), other = world.aUser(2), reader = world.aUser(1)
            world.startWorkers()
            try await world.follow(author, by: reader)
            try await world.follow(other, by: reader)
            _ = try await world.home(of: reader)
            try await world.settle()
            var old: [PostID] = []
            for _ in 0..<30 { old.insert(try await world.publish(by: author), at: 0) }
            try await world.settle()

            var down: [PostID] = []
            var request = PageRequest(limit: 7)
            while case let page = try await world.home(of: reader, request), !page.isEmpty {
                down += page
                request.maxID = page.last?.rawValue
                try await world.publish(by: other)
                try await world.settle()
            }
            var up: [PostID] = []
            request = PageRequest(minID: old[29].rawValue, limit: 7)
            while case let page = try await world.home(of: reader, request), !page.isEmpty {
                up = page + up
                request.minID = page.first?.rawValue
            }
            let newest = try await world.home(
                of: reader,
                PageRequest(sinceID: old[0].rawValue, limit: 3)
            )

            #expect(down == old)
            let whole = try await world.wholeHome(of: reader)
            #expect(up == Array(whole.dropLast()))
            #expect(newest == Array(up.prefix(3)))
        }
    }

    @Test func `a deleted post leaves the page full and the feeds soon after`() async throws {
        try await FeedWorld.run { world in
            let author = world.aUser(0), reader = world.aUser(1)
            world.startWorkers()
            try await world.follow(author, by: reader)
            _ = try await world.home(of: reader)
            try await world.settle()
            var all: [PostID] = []
            for _ in 0..<10 { all.insert(try await world.publish(by: author), at: 0) }
            try await world.settle()

            for post in all[1...3] { try await world.delete(post, of: author) }
            let page = try await world.home(of: reader, PageRequest(limit: 5))
            try await world.settle()
            let entries = try await world.entries(of: reader)

            #expect(page == [all[0]] + Array(all[4...7]))
            #expect(entries == [all[0]] + Array(all[4...]))
        }
    }

    @Test func `an author past the threshold is merged when read, once`() async throws {
        try await FeedWorld.run(threshold: 3) { world in
            let author = world.aUser(0)
            let readers = (1..<7).map { world.aUser($0) }
            world.startWorkers()
            for reader in readers.prefix(3) {
                try await world.follow(author, by: reader)
                _ = try await world.home(of: reader)
            }
            try await world.settle()
            let pushed = try await world.publish(by: author)
            try await world.settle()
            for reader in readers.dropFirst(3) {
                try await world.follow(author, by: reader)
                _ = try await world.home(of: reader)
            }
            try await world.settle()

            let pulled = try await world.publish(by: author)
            try await world.settle()
            world.service.start()
            try await world.app.loop.sleep(for: .milliseconds(1_200))

            for reader in readers {
                let home = try await world.home(of: reader)
                #expect(home == [pulled, pushed])
            }
            let entries = try await world.entries(of: readers[0])
            #expect(entries == [pushed])
            try await world.unfollow(author, by: readers[0])
            let left = try await world.home(of: readers[0])
            #expect(left.isEmpty)
            // What was delivered before the author crossed the threshold is taken back all the same.
            try await world.delete(pushed, of: author)
            try await world.settle()
            let remaining = try await world.entries(of: readers[1])
            #expect(remaining.isEmpty)
        }
    }

    @Test
    func
        `a post from before its author was merged goes from the feeds of those who followed by then`()
        async throws
    {
        // Ranges of two, so that there are several.
        try await FeedWorld.run(threshold: 5, rangeSize: 2) { world in
            let author = world.aUser(0)
            let early = (1..<6).map { world.aUser($0) }
            let late = (6..<9).map { world.aUser($0) }
            world.startWorkers()
            for reader in early {
                try await world.follow(author, by: reader)
                _ = try await world.home(of: reader)
            }
            try await world.settle()
            let post = try await world.publish(by: author)
            try await world.settle()
            for reader in late {
                try await world.follow(author, by: reader)
                _ = try await world.home(of: reader)
            }
            try await world.settle()
            // The sixth follow is enough; no post has to be published for it.
            let isMerged = try await world.store.isPull(author)
            // Long ago; and an entry that no delivery has made tells whether a late follower is looked at.
            try await world.cluster.psql(
                author,
                """
                UPDATE feed.pull_author SET since = now() - interval '1 hour';
                UPDATE graph.follower SET id = 5
                WHERE follower IN (\(early.map(\.description).joined(separator: ",")))
                """
            )
            try await world.cluster.psql(
                late[2],
                """
                INSERT INTO feed.entry (bucket, reader, post_id, author)
                VALUES (\(late[2].bucket), \(late[2]), \(post), \(author))
                ON CONFLICT DO NOTHING
                """
            )

            try await world.delete(post, of: author)
            try await world.settle()

            #expect(isMerged)
            for reader in early {
                let entries = try await world.entries(of: reader)
                #expect(entries.isEmpty, "\(reader)")
            }
            let entries = try await world.entries(of: late[2])
            #expect(entries == [post])
        }
    }

    @Test func `a timeline is the newest 800 posts, also after it was trimmed and has shrunk`()
        async throws
    {
        try await FeedWorld.run(shards: 1) { world in
            let author = world.aUser(0), other = world.aUser(2), reader = world.aUser(1)
            world.startWorkers()
            try await world.follow(author, by: reader)
            try await world.follow(other, by: reader)
            _ = try await world.home(of: reader)
            try await world.settle()
            let posts = (0..<1_010).map { number in
                PostReference(
                    id: world.posts.add(by: number % 10 == 0 ? other : author),
                    author: number % 10 == 0 ? other : author
                )
            }
            try await world.store.backfill(posts, for: reader)
            _ = try await world.store.trim(in: reader.bucket)

            let whole = try await world.wholeHome(of: reader, limit: 40)
            try await world.unfollow(other, by: reader)
            try await world.settle()
            let shrunk = try await world.wholeHome(of: reader, limit: 40)

            let newest = posts.map(\.id).sorted(by: >)
            let rest = posts.filter { $0.author == author }.map(\.id).sorted(by: >)
            #expect(whole == Array(newest.prefix(800)))
            #expect(shrunk == Array(rest.prefix(800)))
        }
    }

    @Test func `a large following is delivered in ranges, on every shard, once each`() async throws
    {
        try await FeedWorld.run(threshold: 10_000, rangeSize: 1_000) { world in
            let author = world.aUser(0)
            let count = 4_500
            let readers = (1...count).map { number in
                UserID(
                    rawValue: HybridClock.id(
                        reading: Int64(number) << 20,
                        bucket: BucketID.all[number % BucketID.count]
                    )
                )
            }
            for shard in world.cluster.shards {
                let own = readers.filter { world.cluster.shard(of: $0.bucket).id == shard.id }
                let rows = own.map { "(\($0.bucket), \($0), true)" }.joined(separator: ",")
                try await shard.psql(
                    "INSERT INTO feed.reader (bucket, reader, active) VALUES \(rows)"
                )
            }
            let edges = readers.map {
                "(\(author.bucket), \(author), \($0.bucket), \($0), \($0), 1, true)"
            }
            try await world.cluster.psql(
                author,
                "INSERT INTO graph.follower VALUES \(edges.joined(separator: ","))"
            )
            world.startWorkers(2)

            for _ in 0..<2 { try await world.publish(by: author) }
            try await world.settle()

            let counts = try await world.cluster.psqlOnEveryShard(
                "SELECT count(*) || ' ' || count(DISTINCT reader) FROM feed.entry"
            )
            let rows = counts.map { $0.split(separator: " ").compactMap { Int($0) } }
            #expect(rows.reduce(0) { $0 + $1[0] } == 2 * count)
            #expect(rows.reduce(0) { $0 + $1[1] } == count)
        }
    }

    @Test(arguments: [1, 2, 3])
    func `any history ends with every timeline right and equal to its rebuild`(seed: UInt64)
        async throws
    {
        try await FeedWorld.run(threshold: 4) { world in
            var random = Seeded(state: seed)
            let users = (0..<8).map { world.aUser($0) }
            var follows: Set<[UserID]> = []
            var published: [(PostID, UserID)] = []
            world.service.start()
            world.startWorkers(3)
            for _ in 0..<250 {
                let user = users.randomElement(using: &random)!
                let target = users.randomElement(using: &random)!
                switch Int.random(in: 0..<12, using: &random) {
                case 0...3 where user != target:
                    try await world.follow(target, by: user)
                    follows.insert([user, target])
                case 4, 5:
                    try await world.unfollow(target, by: user)
                    follows.remove([user, target])
                case 6...8:
                    published.append((try await world.publish(by: user), user))
                case 9:
                    if let (post, author) = published.randomElement(using: &random) {
                        try await world.delete(post, of: author)
                    }
                case 10:
                    _ = try await world.home(of: user)
                default:
                    try await world.cluster.psql(
                        user,
                        """
                        UPDATE feed.reader SET active = false, rebuilt = false
                        WHERE reader = \(user)
                        """
                    )
                }
            }
            try await world.settle()
            try await world.app.loop.sleep(for: .milliseconds(1_200))

            for user in users {
                let authors = Set(follows.filter { $0[0] == user }.map { $0[1] } + [user])
                let home = try await world.wholeHome(of: user)
                #expect(home == world.posts.live(of: authors), "seed \(seed), user \(user)")
                let rebuild = RebuildFeed(store: world.store, posts: world.posts)
                let difference = try await rebuild.compare(user)
                #expect(difference.missing == [], "seed \(seed), user \(user)")
            }
        }
    }
}

struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ (state >> 29)
    }
}
