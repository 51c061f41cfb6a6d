/// One page as it is sent, with what decides whether it may be: a fixed head, three lists of numbers, the request that it
/// answers with header lines for that, then the JSON.
///
/// It is kept as the bytes that lie in the cache, and whatever is asked of it is read there: a page that is served costs
/// no more than a look at its numbers. Numbers are little-endian. A page that another version wrote is a miss.
package struct RenderedPage: Sendable, Equatable {
    /// The value as it lies in the cache; the JSON is ``body``.
    package let bytes: [UInt8]
    private let head: Head

    /// `TRP2`
    private static let magic: UInt32 = 0x3250_5254
    private static let tagBytes = 24
    private static let stampCount = 2
    private static let listLimit = Int(UInt16.max)

    /// Where the numbers of the head are.
    private enum Place {
        static let renderedAt = 8
        static let viewer = 16
        static let first = 24
        static let last = 32
        static let shards = 40
        static let counts = 48
        static let limit = 54
        static let flags = 55
        static let target = 56
        static let lines = 58
        static let stamps = 64
        static let tag = stamps + 8 * stampCount
        static let numbers = tag + tagBytes
    }

    private struct Head: Sendable, Equatable {
        var posts: Int
        var merged: Int
        var shards: Int
        var target: Int
        var lines: Int
        var start: Int

        var numbers: Int { shards + 2 * posts + merged }
    }

    /// A page that may be served; `target` is the request that it answers, as sent, and `lines` are the header lines that
    /// go with it then. `first` and `last` are the cursors of its ends, nil on an empty page; `tag` has its quotes.
    package init(
        facts: PageFacts,
        limit: Int,
        first: Int64?,
        last: Int64?,
        isFull: Bool,
        renderedAt: Int64,
        tag: String,
        stamps: [UInt64] = [],
        target: [UInt8] = [],
        lines: [UInt8] = [],
        json: [UInt8]
    ) {
        precondition(tag.utf8.count == Self.tagBytes, "a tag of another length")
        precondition(stamps.count <= Self.stampCount && (0...255).contains(limit))
        let transactions = facts.position.transactions
        var head = Head(
            posts: facts.posts.count,
            merged: facts.merged.count,
            shards: transactions.count,
            target: target.count,
            lines: lines.count,
            start: 0
        )
        precondition(max(head.posts, head.merged, head.shards) <= Self.listLimit)
        precondition(max(head.target, head.lines) <= Self.listLimit)
        head.start = Place.numbers + 8 * head.numbers + head.target + head.lines
        var value: [UInt8] = []
        value.reserveCapacity(head.start + json.count)
        value.put(Self.magic)
        value.put(UInt32(head.start))
        value.put(renderedAt)
        value.put(facts.viewer ?? 0)
        value.put(first ?? 0)
        value.put(last ?? 0)
        value.put(facts.position.shards)
        value.put(UInt16(head.posts))
        value.put(UInt16(head.merged))
        value.put(UInt16(head.shards))
        value.put(UInt8(limit))
        value.put(UInt8((isFull ? 1 : 0) | (facts.viewer == nil ? 0 : 2)))
        value.put(UInt16(head.target))
        value.put(UInt16(head.lines))
        value.put(UInt32(0))
        for index in 0..<Self.stampCount { value.put(index < stamps.count ? stamps[index] : 0) }
        value += tag.utf8
        for transaction in transactions { value.put(transaction) }
        for reference in facts.posts {
            value.put(reference.post)
            value.put(reference.author)
        }
        for author in facts.merged { value.put(author) }
        value += target
        value += lines
        value += json
        bytes = value
        self.head = head
    }

    /// Reads what `init` wrote; nil for anything else.
    package init?(_ value: [UInt8]) {
        guard let head = value.withUnsafeBytes({ Self.head($0) }) else { return nil }
        bytes = value
        self.head = head
    }

    private static func head(_ value: UnsafeRawBufferPointer) -> Head? {
        guard value.count >= Place.numbers, value.number(0) == magic else { return nil }
        let head = Head(
            posts: Int(value.number(Place.counts) as UInt16),
            merged: Int(value.number(Place.counts + 2) as UInt16),
            shards: Int(value.number(Place.counts + 4) as UInt16),
            target: Int(value.number(Place.target) as UInt16),
            lines: Int(value.number(Place.lines) as UInt16),
            start: Int(value.number(4) as UInt32)
        )
        let start = Place.numbers + 8 * head.numbers + head.target + head.lines
        guard head.start == start, start <= value.count else { return nil }
        return head
    }

    // MARK: What is read

    private func number<T: FixedWidthInteger>(_ place: Int) -> T {
        bytes.withUnsafeBytes { $0.number(place) }
    }

    /// How many entries were asked for.
    package var limit: Int { Int(bytes[Place.limit]) }

    /// Whether there may be more below.
    package var isFull: Bool { bytes[Place.flags] & 1 == 1 }

    /// The cursors of its ends; nil on an empty page.
    package var first: Int64? { cursor(Place.first) }
    package var last: Int64? { cursor(Place.last) }

    private func cursor(_ place: Int) -> Int64? {
        let cursor: Int64 = number(place)
        return cursor == 0 ? nil : cursor
    }

    /// When it was rendered, in Unix milliseconds: for the metric of its age, nothing is decided by it.
    package var renderedAt: Int64 { number(Place.renderedAt) }

    /// What stood in the cache for the users whom it depends on when it was begun; see ``PageKey``.
    func stamp(at index: Int) -> UInt64 { number(Place.stamps + 8 * index) }

    /// With its quotes.
    package var tag: String { String(decoding: bytes[tagRange], as: UTF8.self) }

    /// The parts of ``bytes``.
    package var tagRange: Range<Int> { Place.tag..<Place.numbers }
    package var target: Range<Int> {
        let start = head.start - head.lines - head.target
        return start..<start + head.target
    }
    package var lines: Range<Int> { head.start - head.lines..<head.start }
    package var body: Range<Int> { head.start..<bytes.count }

    package var posts: [PageFacts.Reference] { (0..<postCount).map { post(at: $0) } }

    package var facts: PageFacts {
        PageFacts(
            viewer: viewer,
            posts: posts,
            merged: (0..<mergedCount).map { merged(at: $0) },
            position: WithdrawnLog.Position(
                shards: shardsHash,
                transactions: (0..<shardCount).map { transaction(on: $0) }
            )
        )
    }
}

extension RenderedPage: PageEvidence {
    package var viewer: Int64? {
        bytes[Place.flags] & 2 == 0 ? nil : number(Place.viewer)
    }

    package var shardsHash: UInt64 { number(Place.shards) }

    package var shardCount: Int { head.shards }

    package func transaction(on shard: Int) -> Int64 { number(Place.numbers + 8 * shard) }

    package var postCount: Int { head.posts }

    package func post(at index: Int) -> PageFacts.Reference {
        let place = Place.numbers + 8 * (head.shards + 2 * index)
        return PageFacts.Reference(post: number(place), author: number(place + 8))
    }

    package var mergedCount: Int { head.merged }

    package func merged(at index: Int) -> Int64 {
        number(Place.numbers + 8 * (head.shards + 2 * head.posts + index))
    }
}

extension [UInt8] {
    fileprivate mutating func put(_ number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.littleEndian) { append(contentsOf: $0) }
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func number<T: FixedWidthInteger>(_ offset: Int) -> T {
        T(littleEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
    }
}
