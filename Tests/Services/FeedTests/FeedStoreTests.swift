import Contracts
import Database
import EventLoops
import Feed
import Postgres
import ServiceKit
import Sharding
import Shards
import Synchronization
import TestSupport
import Testing

/// The single statements that decide races, each against a real PostgreSQL.
struct FeedStoreTests {
    @Test func `a delivery reaches only feeds that are kept, and repeating it changes nothing`()
        async throws
    {
        try await FeedWorld.run(shards: 1) { world in
            let author = world.aUser(0), reader = world.aUser(1), idle = world.aUser(2)
            _ = try await world.store.activate(reader)
            let post = PostReference(id: world.posts.add(by: author), author: author)
            let readers = [idle, reader].sorted { ($0.bucket, $0) < ($1.bucket, $1) }
            let batches = FanOut.batches(of: readers, shard: world.app.shard)

            for _ in 0..<3 {
                for batch in batches { try await world.store.deliver(post, to: batch) }
            }

            let kept = try await world.entries(of: reader)
            let none = try await world.entries(of: idle)
            #expect(kept == [post.id])
            #expect(none.isEmpty)
        }
    }

    @Test
    func
        `a first delivery fails whole where a feed has the post, and a careful one fills the rest`()
        async throws
    {
        try await FeedWorld.run(shards: 1) { world in
            let author = world.aUser(0)
            let readers = (1...3).map(world.aUser).sorted { ($0.bucket, $0) < ($1.bucket, $1) }
            for reader in readers { _ = try await world.store.activate(reader) }
            let post = PostReference(id: world.posts.add(by: author), author: author)
            let batch = FanOut.batches(of: readers, shard: world.app.shard)[0]
            let one = FanOut.batches(of: [readers[1]], shard: world.app.shard)[0]
            try await world.store.deliver(post, to: one, mayBeThere: false)

            await #expect(throws: DatabaseError.self) {
                try await world.store.deliver(post, to: batch, mayBeThere: false)
            }
            let before = try await world.entries(of: readers[0])
            let found = try await world.store.deliver(
                post,
                to: batch,
                known: [readers[0], readers[1]],
                asked: [readers[2]]
            )

            #expect(before.isEmpty)
            #expect(found == [readers[2]])
            for reader in readers {
                let entries = try await world.entries(of: reader)
                #expect(entries == [post.id])
            }
        }
    }

    @Test func `a backfill that comes after the unfollow inserts nothing`() async throws {
        try await FeedWorld.run(shards: 1) { world in
            let author = world.aUser(0), reader = world.aUser(1)
            _ = try await world.store.activate(reader)
            let post = PostReference(id: world.posts.add(by: author), author: author)
            try await world.follow(author, by: reader)
            try await world.unfollow(author, by: reader)

            try await world.store.backfill([post], for: reader)

            let entries = try await world.entries(of: reader)
            #expect(entries.isEmpty)
        }
    }

    @Test func `a clean-up that comes after the re-follow deletes nothing`() async throws {
        try await FeedWorld.run(shards: 1) { world in
            let author = world.aUser(0), reader = world.aUser(1)
            _ = try await world.store.activate(reader)
            let post = PostReference(id: world.posts.add(by: author), author: author)
            try await world.follow(author, by: reader)
            try await world.store.backfill([post], for: reader)
            try await world.unfollow(author, by: reader)
            try await world.follow(author, by: reader)

            try await world.store.cleanUp(author: author, for: reader)
            let kept = try await world.entries(of: reader)
            try await world.unfollow(author, by: reader)
            try await world.store.cleanUp(author: author, for: reader)
            let gone = try await world.entries(of: reader)

            #expect(kept == [post.id])
            #expect(gone.isEmpty)
        }
    }

    @Test func `a backfill waits for a clean-up that has begun`() async throws {
        try await FeedWorld.run(shards: 1) { world in
            let author = world.aUser(0), reader = world.aUser(1)
            _ = try await world.store.activate(reader)
            let post = PostReference(id: world.posts.add(by: author), author: author)
            try await world.follow(author, by: reader)
            try await world.store.backfill([post], for: reader)

            // As a clean-up that has read an old unfollow and is late to delete.
            let isHeld = Mutex(false)
            async let late: Void = world.worker.transaction(on: reader) { transaction in
                try await transaction.query(
                    "SELECT pg_advisory_xact_lock(hashint8extended(\(reader)::bigint, 1))"
                )
                isHeld.withLock { $0 = true }
                try await world.app.loop.sleep(for: .milliseconds(200))
                try await transaction.query(
                    "DELETE FROM feed.entry WHERE bucket = \(reader.bucket) AND reader = \(reader)"
                )
            }
            while !isHeld.withLock({ $0 }) {
                try await world.app.loop.sleep(for: .milliseconds(1))
            }
            try await world.store.backfill([post], for: reader)
            try await late

            let entries = try await world.entries(of: reader)
            #expect(entries == [post.id])
        }
    }

    @Test func `a trimmed feed says where it ends, and a late rebuild cannot hide that`()
        async throws
    {
        try await FeedWorld.run(shards: 1) { world in
            let author = world.aUser(0), reader = world.aUser(1)
            try await world.follow(author, by: reader)
            let rebuild = RebuildFeed(store: world.store, posts: world.posts)
            try await rebuild(reader)
            let generation = try await world.store.activate(reader)
            let all = (0..<1_005).map { _ in
                PostReference(id: world.posts.add(by: author), author: author)
            }
            try await world.store.backfill(all, for: reader)

            let trimmed = try await world.store.trim(in: reader.bucket)
            let again = try await world.store.trim(in: reader.bucket)
            try await world.store.finishRebuild(
                of: reader,
                generation: generation,
                posts: [],
                floor: PostID(rawValue: 0)
            )

            let skeleton = try await world.store.skeleton(
                of: reader,
                in: FeedWindow(limit: 2_000),
                pullAuthors: []
            )
            #expect(trimmed == 205)
            #expect(again == 0)
            #expect(skeleton?.floor == all[204].id)
            #expect(skeleton?.entries.count == 800)
        }
    }

    @Test func `a feed whose reader stays away is given up`() async throws {
        try await FeedWorld.run(shards: 1) { world in
            let author = world.aUser(0), reader = world.aUser(1)
            try await world.follow(author, by: reader)
            let post = try await world.publish(by: author)
            let first = try await world.home(of: reader)
            try await world.cluster.psql(
                reader,
                "UPDATE feed.reader SET last_read_at = now() - interval '20 days'"
            )

            let sweep = FeedSweep(database: world.worker, idleDays: 14)
            try await sweep(reader.bucket)

            let left = try await world.entries(of: reader)
            let kept = try await world.store.isKept(reader)
            let back = try await world.home(of: reader)
            #expect(first == [post])
            #expect(left.isEmpty && !kept)
            #expect(back == [post])
        }
    }
}
