import Pages
import Sharding
import Simulation

/// Pages that are rendered, kept and served by several nodes while posts are withdrawn on several shards.
///
/// What decides is the product's own `WithdrawnLog`; shards number their transactions as PostgreSQL does, and commit
/// them in another order. Buckets move between them. Nodes are cut off from shards, stand still, and take their time
/// to render; the cache forgets nothing before its time, and nobody deletes there: the log alone must keep the pages
/// from leaking.
final class PageWorld {
    enum Flaw: CaseIterable {
        /// Pages are served however long a shard has been silent.
        case servesWhenDeaf
        /// The next look begins after the newest transaction that was seen, and not with the oldest under way.
        case looksPastOpenTransactions
        /// A page is marked when it is done, and not before its first data are read.
        case marksWhenDone
        /// A page does not say how far the logs had been read.
        case carriesNoPosition
        /// A shard that owns a bucket now is taken to know all that was withdrawn of it.
        case trustsNewOwners
    }

    struct Kept {
        var facts: PageFacts
        var expiresAt: Int
    }

    private struct Shard {
        let id: ShardID
        var next: Int64 = 100
        var open: Set<Int64> = []
        var rows: [LoggedWithdrawal] = []
        /// Of its owner rows.
        var version: Int64 = 1
        var epochs: [BucketID: Epoch] = [:]
    }

    let simulator: Simulator
    let flaw: Flaw?
    let limits: WithdrawnLog.Limits
    private var shards: [Shard]
    /// When the deletion of a post committed.
    private var deletedAt: [Int64: Int] = [:]
    private let posts: [Int64]
    /// Posts in the middle of a transaction, whose buckets do not move.
    private var fenced: Set<Int64> = []
    private var cache: [Int: Kept] = [:]
    private(set) var served = 0
    /// By nodes that had not heard of some shard for a while.
    private(set) var servedInSilence = 0
    private(set) var leaks: [String] = []

    static let lifetime = 60_000

    init(_ simulator: Simulator, flaw: Flaw?) {
        self.simulator = simulator
        self.flaw = flaw
        var limits = WithdrawnLog.Limits()
        if flaw == .servesWhenDeaf { limits.freshness = .seconds(86_400) }
        self.limits = limits
        shards = ["s1", "s2"].map { Shard(id: ShardID($0)!) }
        posts = Array(1...8)
        for user in posts.map(Self.author) + (0..<Self.viewers).map(Self.viewer) {
            let bucket = Self.bucket(user)
            shards[Int(bucket.rawValue) % 2].epochs[bucket] = Epoch(rawValue: 1)
        }
    }

    /// Each post has an author of its own, and each user a bucket.
    static func author(of post: Int64) -> Int64 { post << 6 }
    static func viewer(_ number: Int) -> Int64 { Int64(100 + number) << 6 }
    static let viewers = 8

    /// One post for some, whose authors begin on the other shard; two for the others.
    private static func shows(_ post: Int64, to viewer: Int) -> Bool {
        post == viewer + 1 || (viewer >= 5 && post == viewer - 3)
    }

    private static func bucket(_ user: Int64) -> BucketID { BucketID(rawValue: user >> 6)! }

    var shardIDs: [ShardID] { shards.map(\.id) }

    private func shard(of post: Int64) -> Int {
        let bucket = Self.bucket(Self.author(of: post))
        return shards.firstIndex { $0.epochs[bucket] != nil }!
    }

    /// Moves the bucket of a post to the other shard, once nobody writes there.
    func move(_ post: Int64) {
        guard !fenced.contains(post) else {
            return simulator.step(within: 1...500) { self.move(post) }
        }
        let bucket = Self.bucket(Self.author(of: post))
        let from = shard(of: post)
        let epoch = shards[from].epochs.removeValue(forKey: bucket)!
        shards[1 - from].epochs[bucket] = Epoch(rawValue: epoch.rawValue + 1)
        for index in shards.indices { shards[index].version += 1 }
    }

    // MARK: Who withdraws

    /// Deletes a post in a transaction that may stay open for a while.
    func withdraw(_ post: Int64) {
        let index = shard(of: post)
        let transaction = shards[index].next
        shards[index].next += 1
        shards[index].open.insert(transaction)
        fenced.insert(post)
        let patience = simulator.chance(0.2) ? 0...8_000 : 0...50
        simulator.step(within: patience) { [self] in
            shards[index].open.remove(transaction)
            shards[index].rows.append(.init(transaction: transaction, .post(post)))
            if deletedAt[post] == nil { deletedAt[post] = simulator.now }
            fenced.remove(post)
            if simulator.chance(0.3) { simulator.step(within: 50...4_000) { self.move(post) } }
        }
    }

    /// One statement's snapshot: how far the log is, and its rows.
    func look(at shard: ShardID, from position: Int64?) -> WithdrawnRows {
        let index = shards.firstIndex { $0.id == shard }!
        let state = shards[index]
        let oldest = state.open.min() ?? state.next
        let from = position ?? .max
        let rows = state.rows.filter { $0.transaction >= from }
            .sorted { $0.transaction < $1.transaction }
        let next = flaw == .looksPastOpenTransactions ? state.next : oldest
        return WithdrawnRows(position: next, rows: rows)
    }

    /// What the shard owns.
    func owned(by shard: ShardID) -> OwnedBuckets {
        let state = shards.first { $0.id == shard }!
        return OwnedBuckets(version: state.version, epochs: state.epochs)
    }

    // MARK: Who reads

    func page(of viewer: Int) -> Kept? {
        guard let kept = cache[viewer], kept.expiresAt > simulator.now else { return nil }
        return kept
    }

    /// The viewer's posts of one shard that are there now.
    func live(onShard index: Int, for viewer: Int) -> [PageFacts.Reference] {
        posts.filter { Self.shows($0, to: viewer) && shard(of: $0) == index }
            .filter { deletedAt[$0] == nil }
            .map { PageFacts.Reference(post: $0, author: Self.author(of: $0)) }
    }

    func keep(_ facts: PageFacts, for viewer: Int) {
        var facts = facts
        if flaw == .carriesNoPosition {
            facts.position.transactions = facts.position.transactions.map { _ in .max }
        }
        cache[viewer] = Kept(facts: facts, expiresAt: simulator.now + Self.lifetime)
    }

    func serve(_ facts: PageFacts, by node: String, hearsAll: Bool) {
        served += 1
        if !hearsAll { servedInSilence += 1 }
        let bound = Int(WithdrawnLog.Limits().freshness.components.seconds) * 1_000
        for reference in facts.posts {
            guard let gone = deletedAt[reference.post], gone < simulator.now - bound else {
                continue
            }
            leaks.append("\(node) showed \(reference.post) at \(simulator.now), gone at \(gone)")
        }
    }
}

/// An app node: hears of withdrawals, serves what is kept, renders what is not.
final class PageNode {
    private let name: String
    private let world: PageWorld
    private var simulator: Simulator { world.simulator }
    private var log: WithdrawnLog
    /// Nothing of the node runs before.
    private var standsUntil = 0
    private var cutOff: [ShardID: Int] = [:]

    init(_ name: String, _ world: PageWorld) {
        self.name = name
        self.world = world
        log = WithdrawnLog(limits: world.limits)
        log.know(world.shardIDs)
    }

    private var now: UInt64 { UInt64(simulator.now) }

    /// A step of this node; while it stands still, everything waits.
    private func step(within delay: ClosedRange<Int>, _ body: @escaping () -> Void) {
        simulator.step(within: delay) { [self] in
            guard simulator.now >= standsUntil else {
                return simulator.step(after: standsUntil - simulator.now) {
                    self.step(within: 0...5, body)
                }
            }
            body()
        }
    }

    func standStill(for time: Int) { standsUntil = max(standsUntil, simulator.now + time) }

    func cut(from shard: ShardID, for time: Int) { cutOff[shard] = simulator.now + time }

    func listen(until end: Int) {
        guard simulator.now < end else { return }
        log.forget(at: now)
        for shard in world.shardIDs where (cutOff[shard] ?? 0) <= simulator.now {
            let askedAt = now
            step(within: 0...40) { [self] in
                let answer = world.look(at: shard, from: log.position(on: shard))
                let owned = world.owned(by: shard)
                step(within: 0...40) { [self] in
                    log.heard(shard, answer, askedAt: askedAt)
                    guard log.ownersVersion(of: shard) != owned.version else { return }
                    log.owns(shard, owned, by: world.flaw == .trustsNewOwners ? 0 : now)
                }
            }
        }
        step(within: 1_000...1_020) { self.listen(until: end) }
    }

    func read(for viewer: Int) {
        step(within: 0...5) { [self] in
            if let kept = world.page(of: viewer), log.refusal(of: kept.facts, at: now) == nil {
                return world.serve(kept.facts, by: name, hearsAll: log.isFresh(at: now))
            }
            render(for: viewer)
        }
    }

    private func render(for viewer: Int) {
        let early = log.mark()
        guard early != nil else { return }
        var posts: [PageFacts.Reference] = []
        step(within: 0...20) { [self] in
            posts += world.live(onShard: 0, for: viewer)
            step(within: 0...20) { [self] in
                posts += world.live(onShard: 1, for: viewer)
                // Most are done at once; some stand in a queue for minutes.
                let time = simulator.chance(0.25) ? 95_000...180_000 : 0...30
                step(within: time) { [self] in
                    let late = log.mark()
                    guard let position = world.flaw == .marksWhenDone ? late : early else { return }
                    world.keep(
                        PageFacts(
                            viewer: PageWorld.viewer(viewer),
                            posts: posts,
                            position: position
                        ),
                        for: viewer
                    )
                }
            }
        }
    }
}
