internal import Contracts
internal import EventLoops
internal import Events
package import Jobs
internal import Pages
internal import Postgres
package import Sharding

/// `feed.fanout`: a post is published. Decides how it reaches the followers.
package struct FanOutHandler: EffectHandler {
    package let kind = EffectKinds.feedFanOut
    private let store: FeedStore
    private let delivery: Delivery
    private let threshold: Int

    init(delivery: Delivery, threshold: Int) {
        store = delivery.store
        self.threshold = threshold
        self.delivery = delivery
    }

    package func target(of effect: ClaimedEffect) -> BucketID? { nil }

    package func handle(_ effect: ClaimedEffect) async throws {
        let payload = try effect.decode(PostEffect.init)
        let post = PostReference(id: payload.post, author: payload.author)
        let (plan, readers) = try await delivery.plan(for: post.author, threshold: threshold)
        try await delivery.tellOf(post, .published)
        switch plan {
        case .nobody:
            // Nobody to deliver to: no followers, or an author who is merged by now.
            if try await store.isPull(post.author) { try await store.tellOfMerged(post.author) }
        case .pull(let followers):
            try await store.markPull(post.author, followers: followers)
            try await store.tellOfMerged(post.author)
        case .deliver(let range):
            let range = RangeEffect(post: post, range: range)
            try await delivery.carry(range, to: readers, of: effect)
        case .split(let ranges):
            try await store.replace(
                effect,
                with: ranges.map { delivery.effect(RangeEffect(post: post, range: $0), effect) }
            )
        }
    }
}

/// `feed.retract`: a post is deleted. Takes it out of the feeds it was delivered to.
///
/// Readers do not wait for this, since a deleted post is not shown; it only collects.
package struct RetractHandler: EffectHandler {
    /// How far the clocks of shards may differ, and how long a delivery may be under way.
    private static let slack = Duration.seconds(60)

    package let kind = EffectKinds.feedRetract
    private let store: FeedStore
    private let delivery: Delivery

    init(delivery: Delivery) {
        store = delivery.store
        self.delivery = delivery
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        let payload = try effect.decode(PostEffect.init)
        let post = PostReference(id: payload.post, author: payload.author)
        try await delivery.tellOf(post, .deleted)
        guard let since = try await store.mergedSince(post.author) else {
            let (plan, readers) = try await delivery.plan(
                for: post.author,
                threshold: Int(Int32.max)
            )
            return try await retract(post, plan, readers, before: nil, effect)
        }
        // An author who is merged on reading now was delivered before, and a deleted post that stays in a feed
        // would take the place of another at its end. It is in the feeds of those who followed by then, who are
        // about as many as the threshold; whoever came later never had it.
        let end = since + Self.slack
        guard post.id.createdAt < end else { return }
        let edge = end.milliseconds << 16
        let readers = try await store.followers(of: post.author, before: edge)
        let plan = FanOut.plan(
            followers: readers.count,
            threshold: .max,
            starts: delivery.starts(of: readers)
        )
        try await retract(post, plan, readers, before: edge, effect)
    }

    private func retract(
        _ post: PostReference,
        _ plan: FanOut.Plan,
        _ readers: [UserID]?,
        before edge: Int64?,
        _ effect: ClaimedEffect
    ) async throws {
        switch plan {
        case .nobody, .pull: return
        case .deliver(let range):
            let range = RangeEffect(post: post, range: range, removes: true, before: edge)
            try await delivery.carry(range, to: readers, of: effect)
        case .split(let ranges):
            let parts = ranges.map {
                RangeEffect(post: post, range: $0, removes: true, before: edge)
            }
            try await store.replace(effect, with: parts.map { delivery.effect($0, effect) })
        }
    }
}

/// `feed.deliver`: one range of followers.
package struct DeliverHandler: EffectHandler {
    package let kind = EffectKinds.feedDeliver
    private let delivery: Delivery

    init(delivery: Delivery) {
        self.delivery = delivery
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        try await delivery.carry(try effect.decode(RangeEffect.init), of: effect)
    }
}

/// Brings one post into, or out of, the feeds of a range of followers.
final class Delivery: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Buckets of one batch that may refuse before the rest of it waits too: those of two moves.
    private static let refusalLimit = 32

    let store: FeedStore
    private let loop: EventLoop
    private let drop: PageDrop?
    private let news: StreamNews?
    private let rangeSize: Int
    private var kept = KeptReaders()
    private var queues: [ShardID: WriteQueue] = [:]

    init(store: FeedStore, loop: EventLoop, drop: PageDrop?, news: StreamNews?, rangeSize: Int) {
        self.store = store
        self.loop = loop
        self.drop = drop
        self.news = news
        self.rangeSize = rangeSize
    }

    /// Tells the author's own apps, and those of everybody, before the followers.
    func tellOf(_ post: PostReference, _ what: EventBell.PostNews) async throws {
        guard let news else { return }
        news.tellEverybody(of: post.id, what)
        try await news.tell(what == .published ? .update : .delete, post.id, to: [post.author])
    }

    /// The effect of one range, in the outbox of the post's author.
    func effect(_ range: RangeEffect, _ parent: ClaimedEffect) -> Effect {
        Effect(
            EffectKinds.feedDeliver,
            owner: parent.owner,
            payload: range,
            traceparent: parent.traceparent
        )
    }

    /// The first readers of each range.
    func starts(of readers: [UserID]) -> [UserID] {
        stride(from: 0, to: readers.count, by: rangeSize).map { readers[$0] }
    }

    /// How a post of the author reaches its followers; with it the followers, where one range holds them all.
    func plan(
        for author: UserID,
        threshold: Int
    ) async throws -> (plan: FanOut.Plan, readers: [UserID]?) {
        let most = min(threshold, rangeSize)
        let first = try await store.followers(of: author, atMost: most + 1)
        if first.count <= rangeSize || first.count > threshold {
            let plan = FanOut.plan(
                followers: first.count,
                threshold: threshold,
                starts: Array(first.prefix(1))
            )
            return (plan, first)
        }
        let found = try await store.rangeStarts(
            of: author,
            size: rangeSize,
            threshold: threshold
        )
        let plan = FanOut.plan(
            followers: found.followers,
            threshold: threshold,
            starts: found.starts
        )
        return (plan, nil)
    }

    /// Shards are written to at the same time, each in transactions of its own. What did not succeed
    /// becomes an effect of its own, so that a shard which is down holds up nobody else's feeds.
    ///
    /// `known` are the followers of the range where they were read already.
    func carry(
        _ range: RangeEffect,
        to known: [UserID]? = nil,
        of effect: ClaimedEffect
    ) async throws {
        var readers: [UserID]
        if let known {
            readers = known
        } else if let edge = range.before {
            readers = try await store.followers(
                of: range.post.author,
                in: range.range,
                before: edge
            )
        } else {
            readers = try await store.followers(of: range.post.author, in: range.range)
        }
        if let buckets = range.buckets.map(Set.init) {
            readers.removeAll { !buckets.contains($0.bucket) }
        }
        let batches = FanOut.batches(of: readers, shard: store.shard)
        let failures = await withTaskGroup(of: Failure?.self) { group in
            for batch in batches {
                group.addTask {
                    await self.write(range, batch, isFirst: effect.attempts == 1)
                }
            }
            var failures: [Failure] = []
            for await failure in group { if let failure { failures.append(failure) } }
            return failures
        }
        guard let first = failures.first else { return }
        let failed = Set(failures.flatMap(\.buckets))
        guard failed.count < Set(batches.flatMap(\.buckets)).count else { throw first.error }
        var rest = range
        rest.buckets = failed.sorted()
        try await store.replace(effect, with: [self.effect(rest, effect)])
    }

    private struct Failure: Sendable {
        var buckets: [BucketID]
        var error: DatabaseError
    }

    /// A refused bucket is left out and the others are written; then it is written where it is by now.
    ///
    /// An effect that runs for the `isFirst` time expects no entry of its post in any feed.
    private func write(
        _ range: RangeEffect,
        _ batch: FanOut.Batch,
        isFirst: Bool
    ) async -> Failure? {
        let post = range.post
        let queue = queue(of: batch.shard)
        await queue.enter()
        defer { queue.leave() }
        var left = batch
        var mayBeThere = !isFirst || range.buckets != nil
        var refused: [BucketID] = []
        while !left.readers.isEmpty {
            do throws(DatabaseError) {
                if range.removes {
                    try await store.withdraw(post, from: left)
                } else {
                    try await deliver(post, to: left, mayBeThere: mayBeThere)
                }
                break
            } catch .uniqueViolation where !mayBeThere {
                mayBeThere = true
            } catch {
                guard case .fenced(let number?, _) = error, refused.count < Self.refusalLimit,
                    let bucket = BucketID(rawValue: number), left.buckets.contains(bucket)
                else { return Failure(buckets: refused + left.buckets, error: error) }
                refused.append(bucket)
                left = left.without(bucket)
            }
        }
        // The rows are there: whoever renders from now on has them, and what was rendered before goes.
        await drop?.homes(of: left.readers.map(\.rawValue))
        do throws(DatabaseError) {
            try await news?.tell(range.removes ? .delete : .update, post.id, to: left.readers)
        } catch {
            // The entries are there and stay; it is told when the effect runs again.
            return Failure(buckets: batch.buckets, error: error)
        }
        return refused.isEmpty
            ? nil : await follow(post, batch.readers(in: Set(refused)), removes: range.removes)
    }

    /// Writes to readers whose buckets have moved, and waits while they have no owner.
    private func follow(
        _ post: PostReference,
        _ readers: [UserID],
        removes: Bool
    ) async -> Failure? {
        var failure: Failure?
        for batch in FanOut.batches(of: readers, shard: store.shard) {
            do throws(DatabaseError) {
                if removes {
                    try await store.withdraw(post, from: batch, holds: true)
                } else {
                    try await store.deliver(post, to: batch, holds: true)
                }
                await drop?.homes(of: batch.readers.map(\.rawValue))
            } catch {
                let buckets = (failure?.buckets ?? []) + batch.buckets
                failure = Failure(buckets: buckets, error: failure?.error ?? error)
            }
        }
        return failure
    }

    private func queue(of shard: ShardID) -> WriteQueue {
        if let queue = queues[shard] { return queue }
        let queue = WriteQueue()
        queues[shard] = queue
        return queue
    }

    private func deliver(
        _ post: PostReference,
        to batch: FanOut.Batch,
        mayBeThere: Bool
    ) async throws(DatabaseError) {
        let readers = kept.split(batch.readers, at: loop.now)
        let reached = try await store.deliver(
            post,
            to: batch,
            known: readers.known,
            asked: readers.asked,
            mayBeThere: mayBeThere
        )
        kept.learn(reached, at: loop.now)
    }
}

extension EventLoop {
    fileprivate var now: Duration { .milliseconds(milliseconds) }
}

extension FanOut.Batch {
    func readers(in buckets: Set<BucketID>) -> [UserID] {
        readers.filter { buckets.contains($0.bucket) }
    }

    func without(_ bucket: BucketID) -> Self {
        FanOut.Batch(
            shard: shard,
            readers: readers.filter { $0.bucket != bucket },
            buckets: buckets.filter { $0 != bucket }
        )
    }
}
