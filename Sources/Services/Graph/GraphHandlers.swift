internal import Contracts
package import Jobs
package import Pages
package import Sharding

/// Carries a following row's state to its mirror on the followed's shard.
package struct EdgeHandler: EffectHandler {
    package let kind = EffectKinds.graphEdge
    package let version: Int16 = 2
    private let store: GraphStore

    package init(store: GraphStore) {
        self.store = store
    }

    package func target(of effect: ClaimedEffect) -> BucketID? {
        // An effect that cannot be read has no target; handling it says why.
        try? effect.decode(EdgeEffect.init).target.bucket
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        let edge = try effect.decode(EdgeEffect.init)
        try await store.mirror(edge, traceparent: effect.traceparent)
    }
}

/// Carries a decision about a follow to the follower's shard.
package struct AnswerHandler: EffectHandler {
    package let kind = EffectKinds.graphAnswer
    private let store: GraphStore
    private let drop: PageDrop?

    package init(store: GraphStore, drop: PageDrop?) {
        self.store = store
        self.drop = drop
    }

    package func target(of effect: ClaimedEffect) -> BucketID? {
        // As above.
        try? effect.decode(AnswerEffect.init).user.bucket
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        let answer = try effect.decode(AnswerEffect.init)
        try await store.take(answer, traceparent: effect.traceparent)
        await drop?.acted([answer.user.rawValue])
    }
}

/// Carries a block to the blocked's shard, where it ends their follow.
package struct BlockHandler: EffectHandler {
    package let kind = EffectKinds.graphBlock
    private let store: GraphStore
    private let drop: PageDrop?

    package init(store: GraphStore, drop: PageDrop?) {
        self.store = store
        self.drop = drop
    }

    package func target(of effect: ClaimedEffect) -> BucketID? {
        // As above.
        try? effect.decode(BlockEffect.init).blocked.bucket
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        let block = try effect.decode(BlockEffect.init)
        try await store.mirror(block, traceparent: effect.traceparent)
        // What was rendered before this shard had heard of it.
        await drop?.acted([block.blocked.rawValue])
    }
}
