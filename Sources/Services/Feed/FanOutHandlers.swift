internal import Contracts
package import Jobs
internal import Postgres
package import Sharding

/// `feed.fanout`: a post is published. Decides how it reaches the followers.
package struct FanOutHandler: EffectHandler {
    package let kind = EffectKinds.feedFanOut
    private let store: FeedStore
    private let delivery: Delivery
    private let threshold: Int

    package init(store: FeedStore, threshold: Int) {
        self.store = store
        self.threshold = threshold
        delivery = Delivery(store: store)
    }

    package func target(of effect: ClaimedEffect) -> BucketID? { nil }

    package func handle(_ effect: ClaimedEffect) async throws {
        let payload = try effect.decode(PostEffect.init)
        let post = PostReference(id: payload.post, author: payload.author)
        let found = try await store.rangeStarts(
            of: post.author,
            size: FanOut.rangeSize(shards: store.shardCount),
            threshold: threshold
        )
        let plan = FanOut.plan(
            followers: found.followers,
            threshold: threshold,
            starts: found.starts
        )
        switch plan {
        case .nobody: return
        case .pull(let followers): try await store.markPull(post.author, followers: followers)
        case .deliver(let range):
            try await delivery.carry(RangeEffect(post: post, range: range), of: effect)
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
    package let kind = EffectKinds.feedRetract
    private let store: FeedStore
    private let delivery: Delivery

    package init(store: FeedStore) {
        self.store = store
        delivery = Delivery(store: store)
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        let payload = try effect.decode(PostEffect.init)
        let post = PostReference(id: payload.post, author: payload.author)
        // Entries which an author left before crossing the threshold go when the feeds are trimmed.
        let found = try await store.rangeStarts(
            of: post.author,
            size: FanOut.rangeSize(shards: store.shardCount),
            threshold: Int(Int32.max)
        )
        let plan = FanOut.plan(followers: found.followers, threshold: .max, starts: found.starts)
        switch plan {
        case .nobody, .pull: return
        case .deliver(let range):
            let range = RangeEffect(post: post, range: range, removes: true)
            try await delivery.carry(range, of: effect)
        case .split(let ranges):
            try await store.replace(
                effect,
                with: ranges.map {
                    delivery.effect(RangeEffect(post: post, range: $0, removes: true), effect)
                }
            )
        }
    }
}

/// `feed.deliver`: one range of followers.
package struct DeliverHandler: EffectHandler {
    package let kind = EffectKinds.feedDeliver
    private let delivery: Delivery

    package init(store: FeedStore) {
        delivery = Delivery(store: store)
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        try await delivery.carry(try effect.decode(RangeEffect.init), of: effect)
    }
}

/// Brings one post into, or out of, the feeds of a range of followers.
struct Delivery: Sendable {
    /// Buckets of one batch that may refuse before the rest of it waits too.
    private static let refusalLimit = 4

    let store: FeedStore

    /// The effect of one range, in the outbox of the post's author.
    func effect(_ range: RangeEffect, _ parent: ClaimedEffect) -> Effect {
        Effect(
            EffectKinds.feedDeliver,
            owner: parent.owner,
            payload: range,
            traceparent: parent.traceparent
        )
    }

    /// Shards are written to at the same time, each in transactions of its own. What did not succeed
    /// becomes an effect of its own, so that a shard which is down holds up nobody else's feeds.
    func carry(_ range: RangeEffect, of effect: ClaimedEffect) async throws {
        var readers = try await store.followers(of: range.post.author, in: range.range)
        if let buckets = range.buckets.map(Set.init) {
            readers.removeAll { !buckets.contains($0.bucket) }
        }
        let batches = FanOut.batches(of: readers, shard: store.shard)
        let failures = await withTaskGroup(of: Failure?.self) { group in
            for batch in batches {
                group.addTask { await write(range.post, batch, removes: range.removes) }
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

    /// A refused bucket is left out and the others are written.
    private func write(
        _ post: PostReference,
        _ batch: FanOut.Batch,
        removes: Bool
    ) async -> Failure? {
        var left = batch
        var refused: [BucketID] = []
        var refusal: DatabaseError?
        while !left.readers.isEmpty {
            do throws(DatabaseError) {
                if removes {
                    try await store.withdraw(post, from: left)
                } else {
                    try await store.deliver(post, to: left)
                }
                break
            } catch {
                guard case .fenced(let number?, _) = error, refused.count < Self.refusalLimit,
                    let bucket = BucketID(rawValue: number), left.buckets.contains(bucket)
                else { return Failure(buckets: refused + left.buckets, error: error) }
                refused.append(bucket)
                refusal = error
                left = left.without(bucket)
            }
        }
        return refusal.map { Failure(buckets: refused, error: $0) }
    }
}

extension FanOut.Batch {
    func without(_ bucket: BucketID) -> Self {
        FanOut.Batch(
            shard: shard,
            readers: readers.filter { $0.bucket != bucket },
            buckets: buckets.filter { $0 != bucket }
        )
    }
}
