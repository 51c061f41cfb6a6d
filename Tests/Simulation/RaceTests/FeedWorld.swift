import Feed
import Graph
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

    struct Reader {
        var active = false
        var rebuilt = false
    }

    enum Effect {
        case edge(Pair, Edge)
        case answer(Pair, FollowDecision)
        case backfill(Pair)
        case cleanUp(Pair)
        case fanOut(post: Int)
        case deliver(post: Int, followers: [Int])
        case block(Pair, version: Int64)
        case retract(post: Int)
    }

    /// The ways in which the design could be wrong; each must be found by the simulator.
    enum Flaw {
        case mirrorIgnoresVersions
        case cleanUpIgnoresRefollow
        case cleanUpWithoutLock
        case backfillBeforeEdge
        case servesBeforeRebuilt
        case rebuildBeforeActive
        case skeletonIgnoresFollowing
        case blockIgnoresVersions
        case followDoesNotLook
        case followForgetsBlocks
        case acceptanceAnswersAnyFollow
        case refusalAnswersRequestsOnly
        case mirrorForgetsRefusals
        case blockSparesRequests
    }

    let simulator: Simulator
    let flaw: Flaw?
    let pullThreshold: Int
    private(set) var following: [Pair: Edge] = [:]
    private(set) var follower: [Pair: Edge] = [:]
    private(set) var blocking: [Pair: Int64] = [:]
    /// Who lets followers in one by one.
    private(set) var closed: Set<Int> = []
    private var follows: Int64 = 0
    private(set) var blockedBy: [Pair: Int64] = [:]
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

    /// Looks at the target's own block row first, on another shard, then writes.
    func follow(_ pair: Pair) {
        guard pair.user != pair.target else { return }
        let back = Pair(user: pair.target, target: pair.user)
        let seen = flaw == .followDoesNotLook ? 0 : blocking[back] ?? 0
        guard !BlockVersion.stands(seen) else { return }
        let terms = FollowTerms(blockSeen: seen, asks: closed.contains(pair.target))
        simulator.step { [self] in followStatement(pair, terms) }
    }

    func unfollow(_ pair: Pair) {
        change(pair) { $0.unfollow() }
    }

    func setClosed(_ user: Int, _ isClosed: Bool) {
        if isClosed { closed.insert(user) } else { closed.remove(user) }
    }

    /// The followed lets a follower in, sends them away, or removes them.
    func decide(_ pair: Pair, accepts: Bool) {
        let block = blocking[Pair(user: pair.target, target: pair.user)] ?? 0
        guard !accepts || !BlockVersion.stands(block), var edge = follower[pair],
            let decision = edge.decide(accepts: accepts)
        else { return }
        if flaw == .mirrorForgetsRefusals { edge.refused = 0 }
        follower[pair] = edge
        if accepts { invited.insert(decision.id) } else { ended.insert(decision.id) }
        queue.enqueue(.answer(pair, decision))
    }

    /// Follows that their targets have let in, and not sent away since.
    private var invited: Set<Int64> = []
    /// Follows that had to be asked for.
    private var asked: Set<Int64> = []
    /// Follows that their targets have ended.
    private var ended: Set<Int64> = []

    /// Follows that came back to their target's list after the target had ended them.
    private(set) var returned: [Pair] = []

    /// Follows that stand although the followed had to be asked and has not let them in, or has sent them away.
    var followsUninvited: [Pair] {
        following.filter { _, edge in
            edge.active
                && (asked.contains(edge.id) && !invited.contains(edge.id)
                    || ended.contains(edge.id))
        }
        .map(\.key)
    }

    func setBlock(_ pair: Pair, active: Bool) {
        let version = blocking[pair] ?? 0
        guard pair.user != pair.target, BlockVersion.stands(version) != active else { return }
        blocking[pair] = version + 1
        if active { change(pair) { $0.unfollow() } }
        queue.enqueue(.block(Pair(user: pair.target, target: pair.user), version: version + 1))
    }

    /// Follows that stand although one side blocks the other: there are none once all is quiet.
    var followsUnderBlock: [Pair] {
        following.filter { pair, edge in
            let back = Pair(user: pair.target, target: pair.user)
            let blocks = [blocking[pair] ?? 0, blocking[back] ?? 0]
            return (edge.active || edge.requested) && blocks.contains(where: BlockVersion.stands)
        }
        .map(\.key)
    }

    /// Mirrors that do not say what their truth says.
    var staleMirrors: [Pair] {
        following.filter { pair, edge in
            edge.active != (follower[pair]?.active ?? false)
                || edge.requested != (follower[pair]?.requested ?? false)
        }
        .map(\.key)
    }

    func publish(_ post: Int, by author: Int) {
        posts[post] = author
        queue.enqueue(.fanOut(post: post))
    }

    func delete(_ post: Int) {
        deleted.insert(post)
        queue.enqueue(.retract(post: post))
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

    private func followStatement(_ pair: Pair, _ terms: FollowTerms) {
        guard !BlockVersion.stands(blocking[pair] ?? 0) else { return }
        let known = flaw == .followForgetsBlocks ? 0 : blockedBy[pair] ?? 0
        guard BlockVersion.allowsFollow(seen: terms.blockSeen, known: known) else { return }
        follows += 1
        let id = follows
        change(pair) { $0.follow(on: terms, id: id) }
        if terms.asks && following[pair]?.id == id { asked.insert(id) }
    }

    /// One write of a following row; its effect is enqueued in the same transaction.
    private func change(_ pair: Pair, _ body: (inout Edge) -> Bool) {
        var edge = following[pair] ?? Edge()
        let changed = body(&edge)
        following[pair] = edge
        guard changed else { return }
        queue.enqueue(.edge(pair, edge))
        if flaw == .backfillBeforeEdge && edge.active { queue.enqueue(.backfill(pair)) }
    }

    /// The mirror, and in the same transaction what follows from a change of it.
    private func applyEdgeStatement(_ pair: Pair, _ edge: Edge) {
        let active = edge.active
        var mirror = follower[pair] ?? Edge()
        if flaw == .mirrorIgnoresVersions {
            mirror.active = active
            mirror.requested = edge.requested
            mirror.id = edge.id
        } else {
            guard mirror.mirror(edge) else { return }
        }
        follower[pair] = mirror
        if (mirror.active || mirror.requested) && ended.contains(mirror.id) {
            returned.append(pair)
        }
        if !active {
            queue.enqueue(.cleanUp(pair))
        } else if flaw != .backfillBeforeEdge {
            queue.enqueue(.backfill(pair))
        }
    }

    private func insertEntriesStatement(_ posts: [Int], for reader: Int, checked: Bool = true) {
        guard !checked || readers[reader]?.active == true else { return }
        entries[reader, default: []].formUnion(posts)
    }

    private func cleanUpStatement(_ pair: Pair) {
        // Found first: entries must not be read while they are changed.
        let doomed = entriesToCleanUp(pair)
        entries[pair.user]?.subtract(doomed)
    }

    private func entriesToCleanUp(_ pair: Pair) -> Set<Int> {
        guard flaw == .cleanUpIgnoresRefollow || following[pair]?.active != true else { return [] }
        return (entries[pair.user] ?? []).filter { posts[$0] == pair.target }
    }

    private func applyAnswerStatement(_ pair: Pair, _ decision: FollowDecision) {
        change(pair) { edge in
            var decision = decision
            if flaw == .acceptanceAnswersAnyFollow && decision.accepts { decision.id = edge.id }
            if flaw == .refusalAnswersRequestsOnly && !decision.accepts && edge.active {
                return false
            }
            return edge.take(decision)
        }
    }

    private func applyBlockStatement(_ pair: Pair, version: Int64) {
        blockedBy[pair] = max(blockedBy[pair] ?? 0, version)
        if flaw == .blockIgnoresVersions {
            if BlockVersion.stands(version) { change(pair) { $0.unfollow() } }
        } else {
            change(pair) { edge in
                if flaw == .blockSparesRequests && edge.requested { return false }
                return edge.end(byBlock: BlockVersion.newestBlock(toldBy: version))
            }
        }
    }

    // MARK: Effects, step by step

    private func plan(_ effect: Effect) -> [() -> Void] {
        switch effect {
        case .edge(let pair, let edge):
            return [{ [self] in applyEdgeStatement(pair, edge) }]
        case .answer(let pair, let decision):
            return [{ [self] in applyAnswerStatement(pair, decision) }]
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
            guard flaw == .cleanUpWithoutLock else { return [{ [self] in cleanUpStatement(pair) }] }
            // Its snapshot is older than its deletes, and a backfill may find the rows still there.
            return [
                { [self] in
                    let doomed = entriesToCleanUp(pair)
                    simulator.step(within: 0...900) { [self] in
                        entries[pair.user]?.subtract(doomed)
                    }
                }
            ]
        case .fanOut(let post):
            return [{ [self] in fanOut(post) }]
        case .deliver(let post, let followers):
            return followers.map { reader in
                { [self] in insertEntriesStatement([post], for: reader) }
            }
        case .block(let pair, let version):
            return [{ [self] in applyBlockStatement(pair, version: version) }]
        case .retract(let post):
            return entries.keys.sorted().map { reader in
                { [self] in _ = entries[reader]?.remove(post) }
            }
        }
    }

    private func fanOut(_ post: Int) {
        let author = posts[post]!
        let followers = follower.filter { pair, edge in
            let block = blocking[Pair(user: author, target: pair.user)] ?? 0
            return pair.target == author && edge.active && !BlockVersion.stands(block)
        }
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
