import Simulation

/// The tables of Graph, Posts and Feed, and the single statements that change them.
///
/// Each method that ends in "Statement" stands for one SQL statement or transaction of the product and is
/// atomic; the tests of `GraphStore` and `FeedStore` hold the SQL to the same behaviour.
final class FeedWorld {
    struct Pair: Hashable {
        var user: Int
        var target: Int
    }

    struct Edge {
        var version = 0
        var active = false
    }

    struct Reader {
        var active = false
        var rebuilt = false
    }

    enum Effect {
        case edge(Pair, version: Int, active: Bool)
        case backfill(Pair)
        case cleanUp(Pair)
        case fanOut(post: Int)
        case deliver(post: Int, followers: [Int])
        case block(Pair, version: Int, active: Bool)
    }

    /// The ways in which the design could be wrong; each must be found by the simulator.
    enum Flaw {
        case mirrorIgnoresVersions
        case cleanUpIgnoresRefollow
        case backfillBeforeEdge
        case servesBeforeRebuilt
        case rebuildBeforeActive
        case skeletonIgnoresFollowing
        case blockIgnoresVersions
    }

    let simulator: Simulator
    let flaw: Flaw?
    let pullThreshold: Int
    private(set) var following: [Pair: Edge] = [:]
    private(set) var follower: [Pair: Edge] = [:]
    private(set) var blocking: [Pair: Edge] = [:]
    private(set) var blockedBy: [Pair: Edge] = [:]
    private(set) var posts: [Int: Int] = [:]
    private(set) var deleted: Set<Int> = []
    private(set) var readers: [Int: Reader] = [:]
    private(set) var entries: [Int: Set<Int>] = [:]
    private(set) var pullAuthors: Set<Int> = []
    private var queue: EffectQueue<Effect>!

    init(
        _ simulator: Simulator,
        faults: EffectFaults,
        pullThreshold: Int,
        flaw: Flaw? = nil
    ) {
        self.simulator = simulator
        self.flaw = flaw
        self.pullThreshold = pullThreshold
        queue = EffectQueue(simulator, faults: faults) { [unowned self] in plan($0) }
    }

    // MARK: What people do

    func follow(_ pair: Pair) {
        guard pair.user != pair.target, blockedBy[pair]?.active != true else { return }
        setFollowing(pair, active: true)
    }

    func unfollow(_ pair: Pair) {
        setFollowing(pair, active: false)
    }

    func setBlock(_ pair: Pair, active: Bool) {
        guard pair.user != pair.target, (blocking[pair]?.active ?? false) != active else { return }
        let version = (blocking[pair]?.version ?? 0) + 1
        blocking[pair] = Edge(version: version, active: active)
        if active { setFollowing(pair, active: false) }
        queue.enqueue(
            .block(Pair(user: pair.target, target: pair.user), version: version, active: active)
        )
    }

    func publish(_ post: Int, by author: Int) {
        posts[post] = author
        queue.enqueue(.fanOut(post: post))
    }

    func delete(_ post: Int) {
        deleted.insert(post)
    }

    /// The reader has been away for long: their feed is no longer kept.
    func forget(_ reader: Int) {
        readers[reader] = Reader()
        entries[reader] = nil
    }

    /// A read by somebody whose feed is not kept: mark, rebuild, serve. An app node may die in between.
    func comeBack(_ reader: Int, dies: Bool = false) {
        let ready =
            flaw == .servesBeforeRebuilt ? readers[reader]?.active : readers[reader]?.rebuilt
        guard ready != true else { return }
        let mark = { [self] in readers[reader] = Reader(active: true, rebuilt: false) }
        if flaw != .rebuildBeforeActive { mark() }
        guard !dies else { return }
        simulator.step { [self] in
            let authors = following.filter { $0.key.user == reader && $0.value.active }
                .map(\.key.target).sorted()
            collect(for: reader, from: authors[...], found: []) { [self] in
                if flaw == .rebuildBeforeActive { mark() }
                guard readers[reader]?.active == true else { return }
                readers[reader]?.rebuilt = true
            }
        }
    }

    private func collect(
        for reader: Int,
        from authors: ArraySlice<Int>,
        found: [Int],
        done: @escaping () -> Void
    ) {
        guard let author = authors.first else {
            simulator.step { [self] in
                insertEntriesStatement(found, for: reader, checked: flaw != .rebuildBeforeActive)
                done()
            }
            return
        }
        // A shard may answer late: the widest window for a race.
        simulator.step(within: 0...300) { [self] in
            let posts = livePosts(of: author)
            collect(for: reader, from: authors.dropFirst(), found: found + posts, done: done)
        }
    }

    /// What the reader's home timeline shows once their feed is kept.
    func home(of reader: Int) -> Set<Int> {
        let followed = Set(
            following.filter { $0.key.user == reader && $0.value.active }.map(\.key.target)
        )
        var shown = entries[reader] ?? []
        if flaw != .skeletonIgnoresFollowing {
            shown = shown.filter { followed.contains(posts[$0]!) }
        }
        for author in followed.intersection(pullAuthors) { shown.formUnion(livePosts(of: author)) }
        return shown.union(livePosts(of: reader)).subtracting(deleted)
    }

    /// The right answer, from the truth alone.
    func answer(for reader: Int) -> Set<Int> {
        let followed = following.filter { $0.key.user == reader && $0.value.active }
            .map(\.key.target)
        return Set((followed + [reader]).flatMap(livePosts(of:)))
    }

    private func livePosts(of author: Int) -> [Int] {
        posts.filter { $0.value == author && !deleted.contains($0.key) }.map(\.key).sorted()
    }

    // MARK: Statements

    private func setFollowing(_ pair: Pair, active: Bool) {
        guard (following[pair]?.active ?? false) != active else { return }
        let version = (following[pair]?.version ?? 0) + 1
        following[pair] = Edge(version: version, active: active)
        queue.enqueue(.edge(pair, version: version, active: active))
        if flaw == .backfillBeforeEdge && active { queue.enqueue(.backfill(pair)) }
    }

    private func applyEdgeStatement(_ pair: Pair, version: Int, active: Bool) {
        guard flaw == .mirrorIgnoresVersions || version > (follower[pair]?.version ?? 0) else {
            return
        }
        follower[pair] = Edge(version: version, active: active)
    }

    private func insertEntriesStatement(_ posts: [Int], for reader: Int, checked: Bool = true) {
        guard !checked || readers[reader]?.active == true else { return }
        entries[reader, default: []].formUnion(posts)
    }

    private func cleanUpStatement(_ pair: Pair) {
        guard flaw == .cleanUpIgnoresRefollow || following[pair]?.active != true else { return }
        entries[pair.user]?.subtract(posts.filter { $0.value == pair.target }.map(\.key))
    }

    private func applyBlockStatement(_ pair: Pair, version: Int, active: Bool) {
        guard flaw == .blockIgnoresVersions || version > (blockedBy[pair]?.version ?? 0) else {
            return
        }
        blockedBy[pair] = Edge(version: version, active: active)
        if active { setFollowing(pair, active: false) }
    }

    // MARK: Effects, step by step

    private func plan(_ effect: Effect) -> [() -> Void] {
        switch effect {
        case .edge(let pair, let version, let active):
            return [
                { [self] in applyEdgeStatement(pair, version: version, active: active) },
                { [self] in
                    if !active {
                        queue.enqueue(.cleanUp(pair))
                    } else if flaw != .backfillBeforeEdge {
                        queue.enqueue(.backfill(pair))
                    }
                },
            ]
        case .backfill(let pair):
            var found: [Int] = []
            return [
                { [self] in found = livePosts(of: pair.target) },
                { [self] in
                    guard following[pair]?.active == true else { return }
                    insertEntriesStatement(found, for: pair.user)
                },
            ]
        case .cleanUp(let pair):
            return [{ [self] in cleanUpStatement(pair) }]
        case .fanOut(let post):
            return [{ [self] in fanOut(post) }]
        case .deliver(let post, let followers):
            return followers.map { reader in
                { [self] in insertEntriesStatement([post], for: reader) }
            }
        case .block(let pair, let version, let active):
            return [{ [self] in applyBlockStatement(pair, version: version, active: active) }]
        }
    }

    private func fanOut(_ post: Int) {
        let author = posts[post]!
        let followers = follower.filter { $0.key.target == author && $0.value.active }
            .map(\.key.user).sorted()
        guard followers.count <= pullThreshold, !pullAuthors.contains(author) else {
            pullAuthors.insert(author)
            return
        }
        for start in stride(from: 0, to: followers.count, by: 2) {
            let range = Array(followers[start..<min(start + 2, followers.count)])
            queue.enqueue(.deliver(post: post, followers: range))
        }
    }
}
