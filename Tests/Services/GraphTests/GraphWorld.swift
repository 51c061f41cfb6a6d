import Contracts
import Database
import Graph
import Jobs
import Sharding
import Shards
import TestSupport

/// Graph's store on two real shards, and its effects in the hands of the test.
struct GraphWorld: Sendable {
    let cluster: TestCluster
    let app: Database
    let worker: Database

    var store: GraphStore { GraphStore(database: app) }

    static func run(
        _ body: @escaping @Sendable (GraphWorld) async throws -> Void
    ) async throws {
        let cluster = try await TestCluster.make(
            shards: 2,
            modules: ["Counters", "Jobs", "Accounts", "Graph"]
        )
        try await cluster.run { app, worker in
            try await body(GraphWorld(cluster: cluster, app: app, worker: worker))
        }
    }

    /// A user of their own for each number, on either shard by turns.
    func aUser(_ number: Int) -> UserID {
        let shards = cluster.map.shards.map(\.id)
        let own = cluster.map.buckets(of: shards[number % shards.count])
        return UserID(
            rawValue: HybridClock.id(
                reading: Int64(number + 1) << 20,
                bucket: own[number % own.count]
            )
        )
    }

    /// Takes everything out of the outboxes, oldest first on each shard.
    func takeEffects() async throws -> [ClaimedEffect] {
        let lines = try await cluster.psqlOnEveryShard(
            """
            DELETE FROM jobs.outbox RETURNING bucket || '|' || id || '|' || kind || '|' || payload
            """
        )
        return lines.map { line in
            let parts = line.split(separator: "|", maxSplits: 3).map(String.init)
            return ClaimedEffect(
                kind: parts[2],
                owner: BucketID(rawValue: Int(parts[0])!)!,
                id: Int64(parts[1])!,
                payload: Array(parts[3].utf8)
            )
        }
        .sorted { $0.id < $1.id }
    }

    /// Runs effects of Graph; those of others are returned.
    @discardableResult
    func perform(_ effects: [ClaimedEffect]) async throws -> [ClaimedEffect] {
        let handlers = GraphService.effects(database: worker, drop: nil)
        var others: [ClaimedEffect] = []
        for effect in effects {
            if let handler = handlers.first(where: { $0.kind == effect.kind }) {
                try await handler.handle(effect)
            } else {
                others.append(effect)
            }
        }
        return others
    }

    /// Runs effects until none of Graph's is left; returns the kinds of the others.
    @discardableResult
    func settle() async throws -> [String] {
        var others: [String] = []
        while case let effects = try await takeEffects(), !effects.isEmpty {
            others += try await perform(effects).map(\.kind).filter { $0 != EffectKinds.notify }
        }
        return others
    }

    func follow(_ target: UserID, by user: UserID) async throws -> RelationshipEntity {
        let terms = try await store.terms(of: user, for: target)
        return try await store.follow(target, by: user, on: terms, traceparent: nil)
    }

    func unfollow(_ target: UserID, by user: UserID) async throws {
        _ = try await store.unfollow(target, by: user, traceparent: nil)
    }

    func count(_ kind: CounterKind, of user: UserID) async throws -> Int {
        let text = try await cluster.psql(
            user,
            """
            SELECT COALESCE(sum(value), 0) FROM counters.current
            WHERE subject = \(user) AND kind = \(kind.rawValue)
            """
        )
        return Int(text) ?? -1
    }

    func followers(of user: UserID) async throws -> [UserID] {
        try await store.page(
            of: .followers,
            of: user,
            above: 0,
            below: .max,
            ascending: false,
            limit: 100
        ).map(\.user)
    }

    func following(of user: UserID) async throws -> [UserID] {
        try await store.page(
            of: .following,
            of: user,
            above: 0,
            below: .max,
            ascending: false,
            limit: 100
        ).map(\.user)
    }
}
