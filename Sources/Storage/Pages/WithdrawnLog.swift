internal import EventLoops
package import Sharding

/// What one loop knows of every shard's log of withdrawals, and what it may do with a page because of that.
///
/// A pure value; milliseconds are those of the loop's own clock, and no two clocks are compared. A page carries how far
/// the logs had been read *before* anything of it was. A node may serve it if it has read every log without a gap
/// from there until a moment ago, and nothing in between names the page. So it does not matter how long the rendering
/// took, how long the page lay in a cache that was asleep, or how late a transaction committed. A shard that is silent
/// need not be heard of for pages whose people are others' since before it fell silent (``Tenures``).
package struct WithdrawnLog: Sendable {
    package struct Limits: Sendable {
        /// How old the last look at any shard may be for a rendered page to be served.
        package var freshness = Duration.seconds(3)
        /// How long what was read is kept: longer than any page lives.
        package var memory = Duration.seconds(90)
        /// Rows of one look; where there are more, pages rendered before it are not served at all.
        package var rows = 5_000

        package init() {}
    }

    /// Why a page is not served.
    package enum Refusal: String, Sendable, CaseIterable {
        /// A shard that may have withdrawn something of the page has not been heard of for too long.
        case deaf
        /// It was rendered by a node that knew other shards.
        case shards
        /// It is from before what is remembered here.
        case old
        /// Something on it was withdrawn.
        case withdrawn
        /// Something on it has changed.
        case changed
    }

    /// How far each shard's log had been read, in the order of the shards' names.
    package struct Position: Sendable, Equatable {
        /// A hash of the names.
        package var shards: UInt64
        package var transactions: [Int64]

        package init(shards: UInt64, transactions: [Int64]) {
            self.shards = shards
            self.transactions = transactions
        }
    }

    private struct Look {
        let number: Int
        let at: UInt64
        let position: Int64
        let rows: [LoggedWithdrawal]
    }

    private struct ShardState {
        /// When the newest look was begun.
        var askedAt: UInt64
        var position: Int64
        /// Everything in transactions from here on is remembered.
        var floor: Int64
        var looks: [Look] = []
        var tenures = Tenures()
    }

    private struct Pair: Hashable {
        let viewer: Int64
        let author: Int64
    }

    private let limits: Limits
    private(set) var shards: [ShardID] = []
    private var shardsHash: UInt64 = 0
    private var states: [ShardState?] = []
    private var looks = 0

    // Of all states together, put together when one changes and not at each page.
    private var positions: [Int64] = []
    private var floors: [Int64] = []
    /// When the oldest of the newest looks was begun; nil where a shard was never heard of.
    private var oldestLook: UInt64?

    // What the remembered looks name, with how many of them do.
    private var posts: [Int64: Int] = [:]
    private var authors: [Int64: Int] = [:]
    private var pairs: [Pair: Int] = [:]
    private var blocks: [Pair: Bool] = [:]
    /// Authors whose audience has changed, and which of them have gone private.
    private var turned: [Int64: Int] = [:]
    private var narrowed: [Int64: Bool] = [:]
    /// The newest transaction on each shard by which a page is out of date.
    private var changes: [Int64: [Int: Int64]] = [:]
    private var publications: [Int64: [Int: Int64]] = [:]

    package init(limits: Limits = Limits()) {
        self.limits = limits
    }

    // MARK: What is heard

    /// Says which shards there are; a new one has to be heard of before a page is served again.
    package mutating func know(_ names: [ShardID]) {
        guard names != shards else { return }
        let old = Dictionary(uniqueKeysWithValues: zip(shards, states))
        let wasAt = Dictionary(uniqueKeysWithValues: zip(shards, shards.indices))
        shards = names
        states = names.map { old[$0] ?? nil }
        // FNV-1a, which is the same in every process.
        shardsHash = names.reduce(0xCBF2_9CE4_8422_2325) { hash, shard in
            (Array(shard.name.utf8) + [0]).reduce(hash) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        }
        func renumbered(_ old: [Int: Int64]) -> [Int: Int64] {
            var new: [Int: Int64] = [:]
            for (index, name) in names.enumerated() {
                if let before = wasAt[name], let value = old[before] { new[index] = value }
            }
            return new
        }
        changes = changes.mapValues(renumbered)
        publications = publications.mapValues(renumbered)
        summarize()
    }

    private mutating func summarize() {
        positions = states.map { $0?.position ?? 0 }
        floors = states.map { $0?.floor ?? .max }
        let looks = states.compactMap { $0?.askedAt }
        oldestLook = looks.count == states.count ? looks.min() : nil
    }

    /// The transaction from which on a shard is asked next; nil where only its position is asked for.
    package func position(on shard: ShardID) -> Int64? {
        shards.firstIndex(of: shard).flatMap { states[$0]?.position }
    }

    /// Takes the answer of a shard that was asked from ``position(on:)`` on, at a time.
    package mutating func heard(_ shard: ShardID, _ answer: WithdrawnRows, askedAt: UInt64) {
        guard let index = shards.firstIndex(of: shard) else { return }
        defer { summarize() }
        guard var state = states[index] else {
            states[index] = ShardState(
                askedAt: askedAt,
                position: answer.position,
                floor: answer.position
            )
            return
        }
        // An answer that a later one has overtaken says nothing new.
        guard askedAt > state.askedAt else { return }
        state.askedAt = askedAt
        state.position = answer.position
        // What was left out is not known, so nothing from before it may be served.
        if !answer.isWhole { state.floor = answer.position }
        looks += 1
        if !answer.rows.isEmpty {
            let look = Look(
                number: looks,
                at: askedAt,
                position: answer.position,
                rows: answer.rows
            )
            state.looks.append(look)
            for row in look.rows { remember(row, of: index) }
        }
        states[index] = state
    }

    /// Of the owner rows that a shard is known by; nil before the first.
    package func ownersVersion(of shard: ShardID) -> Int64? {
        shards.firstIndex(of: shard).flatMap { states[$0]?.tenures.version }
    }

    /// Takes what a shard that was just heard of owned then.
    package mutating func owns(_ shard: ShardID, _ owned: OwnedBuckets, by now: UInt64) {
        guard let index = shards.firstIndex(of: shard) else { return }
        states[index]?.tenures.note(owned, by: now)
    }

    /// Forgets what is older than any page may be, and with it the right to serve pages from before.
    package mutating func forget(at now: UInt64) {
        defer { summarize() }
        for index in states.indices {
            guard let state = states[index] else { continue }
            let old = state.looks.prefix { $0.at + limits.memory.wholeMilliseconds < now }
            guard let last = old.last else { continue }
            for look in old { for row in look.rows { release(row, of: index) } }
            states[index]!.looks.removeFirst(old.count)
            states[index]!.floor = max(state.floor, last.position)
        }
    }

    private mutating func remember(_ row: LoggedWithdrawal, of index: Int) {
        switch row.withdrawal {
        case .post(let post): posts[post, default: 0] += 1
        case .author(let author): authors[author, default: 0] += 1
        case .apart(let viewer, let author):
            pairs[Pair(viewer: viewer, author: author), default: 0] += 1
        case .block(let a, let b):
            for pair in [Pair(viewer: a, author: b), Pair(viewer: b, author: a)] {
                pairs[pair, default: 0] += 1
                blocks[pair] = true
            }
        case .unblock(let a, let b):
            for pair in [Pair(viewer: a, author: b), Pair(viewer: b, author: a)] {
                pairs[pair, default: 0] += 1
                blocks[pair] = false
            }
        case .narrowed(let author):
            turned[author, default: 0] += 1
            narrowed[author] = true
        case .widened(let author):
            turned[author, default: 0] += 1
            narrowed[author] = false
        case .changed(let post):
            changes[post, default: [:]][index] = max(
                row.transaction,
                changes[post]?[index] ?? row.transaction
            )
        case .published(let author):
            publications[author, default: [:]][index] = max(
                row.transaction,
                publications[author]?[index] ?? row.transaction
            )
        }
    }

    private mutating func release(_ row: LoggedWithdrawal, of index: Int) {
        switch row.withdrawal {
        case .post(let post): posts.release(post)
        case .author(let author): authors.release(author)
        case .apart(let viewer, let author): pairs.release(Pair(viewer: viewer, author: author))
        case .block(let a, let b), .unblock(let a, let b):
            for pair in [Pair(viewer: a, author: b), Pair(viewer: b, author: a)] {
                pairs.release(pair)
                if pairs[pair] == nil { blocks[pair] = nil }
            }
        case .narrowed(let author), .widened(let author):
            turned.release(author)
            if turned[author] == nil { narrowed[author] = nil }
        case .changed(let post):
            changes.release(post, of: index, row.transaction)
        case .published(let author):
            publications.release(author, of: index, row.transaction)
        }
    }

    // MARK: What follows

    /// How old the oldest of the newest looks is, in milliseconds; nil where a shard was never heard of.
    package func age(at now: UInt64) -> UInt64? {
        guard let oldestLook else { return states.isEmpty ? 0 : nil }
        return now >= oldestLook ? now - oldestLook : 0
    }

    /// Whether every shard has been heard of a moment ago, so that any page may be served.
    package func isFresh(at now: UInt64) -> Bool {
        guard !states.isEmpty, let age = age(at: now) else { return false }
        return age <= limits.freshness.wholeMilliseconds
    }

    /// What a page that is rendered from now on carries; taken before anything of it is read. Nil where no page may
    /// be kept, since some shard has never been heard of.
    package func mark() -> Position? {
        guard oldestLook != nil else { return nil }
        return Position(shards: shardsHash, transactions: positions)
    }

    /// Nil if the page may be served.
    package func refusal(of page: borrowing some PageEvidence, at now: UInt64) -> Refusal? {
        if !isFresh(at: now), !isCovered(page, at: now) { return .deaf }
        guard page.shardsHash == shardsHash, page.shardCount == floors.count else { return .shards }
        for index in 0..<floors.count where page.transaction(on: index) < floors[index] {
            return .old
        }
        return names(page)
    }

    /// Whether the silent shards have nothing to say about a page: those who are on it, and who looks at it, have been
    /// on other shards since before the silence, and those were heard of a moment ago.
    private func isCovered(_ page: borrowing some PageEvidence, at now: UInt64) -> Bool {
        let limit = limits.freshness.wholeMilliseconds
        var silence = UInt64.max
        var heard: [Int] = []
        for (index, state) in states.enumerated() {
            guard let state else { return false }
            if now <= state.askedAt + limit {
                heard.append(index)
            } else {
                silence = min(silence, state.askedAt)
            }
        }
        func covers(_ user: Int64) -> Bool {
            guard let bucket = BucketID(rawValue: user >> 6 & Int64(BucketID.count - 1)) else {
                return false
            }
            return heard.contains { states[$0]!.tenures.covers(bucket, since: silence) }
        }
        if let viewer = page.viewer, !covers(viewer) { return false }
        for index in 0..<page.postCount where !covers(page.post(at: index).author) { return false }
        for index in 0..<page.mergedCount where !covers(page.merged(at: index)) { return false }
        return true
    }

    private func names(_ page: borrowing some PageEvidence) -> Refusal? {
        if !posts.isEmpty || !authors.isEmpty || !pairs.isEmpty || !turned.isEmpty {
            let viewer = page.viewer
            for index in 0..<page.postCount {
                let reference = page.post(at: index)
                if isWithdrawn(reference.post, by: reference.author, for: viewer) {
                    return .withdrawn
                }
            }
        }
        if !changes.isEmpty {
            for index in 0..<page.postCount
            where isBefore(changes[page.post(at: index).post], page) { return .changed }
        }
        if !publications.isEmpty {
            for index in 0..<page.mergedCount
            where isBefore(publications[page.merged(at: index)], page) { return .changed }
        }
        return nil
    }

    private func isWithdrawn(_ post: Int64, by author: Int64, for viewer: Int64?) -> Bool {
        if isGone(post, by: author) || turned[author] != nil { return true }
        guard let viewer, !pairs.isEmpty else { return false }
        return pairs[Pair(viewer: viewer, author: author)] != nil
    }

    private func isBefore(
        _ change: [Int: Int64]?,
        _ page: borrowing some PageEvidence
    ) -> Bool {
        guard let change else { return false }
        for (shard, transaction) in change where page.transaction(on: shard) <= transaction {
            return true
        }
        return false
    }

    /// Whether a post is known to be gone, whatever a cache still holds of it.
    package func isGone(_ post: Int64, by author: Int64) -> Bool {
        posts[post] != nil || isGone(author: author)
    }

    package func isGone(author: Int64) -> Bool { authors[author] != nil }

    /// Whether an account is known to have gone private, although a cached copy may not say so.
    package func isPrivate(_ account: Int64) -> Bool { narrowed[account] == true }

    /// Whether the two are known to be blocked from each other before the viewer's shard may have heard of it.
    package func areBlocked(_ viewer: Int64, _ author: Int64) -> Bool {
        !blocks.isEmpty && blocks[Pair(viewer: viewer, author: author)] == true
    }
}

extension Dictionary where Value == Int {
    fileprivate mutating func release(_ key: Key) {
        guard let count = self[key] else { return }
        self[key] = count > 1 ? count - 1 : nil
    }
}

extension [Int64: [Int: Int64]] {
    /// Forgets the key unless a later row has named it.
    fileprivate mutating func release(_ key: Int64, of shard: Int, _ transaction: Int64) {
        guard let newest = self[key]?[shard], newest <= transaction else { return }
        self[key]![shard] = nil
        if self[key]!.isEmpty { self[key] = nil }
    }
}
