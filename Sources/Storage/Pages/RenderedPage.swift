/// One page as it is sent, with what decides whether it may be: a fixed head, three lists of numbers, then the JSON.
///
/// Numbers are little-endian. A page that another version wrote is a miss.
package struct RenderedPage: Sendable, Equatable {
    package var facts: PageFacts
    /// How many entries were asked for.
    package var limit: Int
    /// The cursors of its ends; nil on an empty page.
    package var first: Int64?
    package var last: Int64?
    /// Whether there may be more below.
    package var isFull: Bool
    /// When it was rendered, in Unix milliseconds: for the metric of its age, nothing is decided by it.
    package var renderedAt: Int64
    /// With its quotes.
    package var tag: String
    /// What stood in the cache for the users whom it depends on when it was begun; see ``PageKey``.
    package var stamps: [UInt64]
    /// The value as it lies in the cache; the JSON is ``body``.
    package private(set) var bytes: [UInt8]
    package private(set) var body: Range<Int>

    /// `TRP1`
    private static let magic: UInt32 = 0x3150_5254
    private static let tagBytes = 24
    private static let stampCount = 2
    private static let headBytes = 56 + tagBytes + 8 * stampCount
    private static let listLimit = Int(UInt16.max)

    package init(
        facts: PageFacts,
        limit: Int,
        first: Int64?,
        last: Int64?,
        isFull: Bool,
        renderedAt: Int64,
        tag: String,
        stamps: [UInt64] = [],
        json: [UInt8]
    ) {
        precondition(tag.utf8.count == Self.tagBytes, "a tag of another length")
        precondition(stamps.count <= Self.stampCount && (0...255).contains(limit))
        precondition(facts.posts.count <= Self.listLimit && facts.merged.count <= Self.listLimit)
        self.facts = facts
        self.limit = limit
        self.first = first
        self.last = last
        self.isFull = isFull
        self.renderedAt = renderedAt
        self.tag = tag
        self.stamps = stamps
        let transactions = facts.position.transactions
        let numbers = transactions.count + 2 * facts.posts.count + facts.merged.count
        let start = Self.headBytes + 8 * numbers
        var value: [UInt8] = []
        value.reserveCapacity(start + json.count)
        value.put(Self.magic)
        value.put(UInt32(start))
        value.put(renderedAt)
        value.put(facts.position.shards)
        value.put(UInt16(transactions.count))
        value.put(UInt16(facts.posts.count))
        value.put(UInt16(facts.merged.count))
        value.put(UInt8(limit))
        value.put(UInt8((isFull ? 1 : 0) | (facts.viewer == nil ? 0 : 2)))
        value.put(facts.viewer ?? 0)
        value.put(first ?? 0)
        value.put(last ?? 0)
        value += tag.utf8
        for index in 0..<Self.stampCount { value.put(index < stamps.count ? stamps[index] : 0) }
        for transaction in transactions { value.put(transaction) }
        for reference in facts.posts {
            value.put(reference.post)
            value.put(reference.author)
        }
        for author in facts.merged { value.put(author) }
        value += json
        bytes = value
        body = start..<value.count
    }

    /// Reads what `init` wrote; nil for anything else.
    package init?(_ value: [UInt8]) {
        guard let page = value.withUnsafeBytes({ Self.read($0) }) else { return nil }
        self = page
        bytes = value
    }

    private init(_ head: Head, _ value: UnsafeRawBufferPointer) {
        facts = PageFacts(
            viewer: head.flags & 2 == 0 ? nil : value.number(32),
            posts: (0..<head.posts).map { index in
                let at = Self.headBytes + 8 * (head.shards + 2 * index)
                return .init(post: value.number(at), author: value.number(at + 8))
            },
            merged: (0..<head.merged).map {
                value.number(Self.headBytes + 8 * (head.shards + 2 * head.posts + $0))
            },
            position: WithdrawnLog.Position(
                shards: value.number(16),
                transactions: (0..<head.shards).map { value.number(Self.headBytes + 8 * $0) }
            )
        )
        limit = head.limit
        let first: Int64 = value.number(40), last: Int64 = value.number(48)
        self.first = first == 0 ? nil : first
        self.last = last == 0 ? nil : last
        isFull = head.flags & 1 == 1
        renderedAt = value.number(8)
        tag = String(decoding: value[56..<56 + Self.tagBytes], as: UTF8.self)
        stamps = (0..<Self.stampCount).map { value.number(56 + Self.tagBytes + 8 * $0) }
        bytes = []
        body = head.start..<value.count
    }

    private struct Head {
        var start: Int
        var shards: Int
        var posts: Int
        var merged: Int
        var limit: Int
        var flags: UInt8
    }

    private static func read(_ value: UnsafeRawBufferPointer) -> RenderedPage? {
        guard value.count >= headBytes, value.number(0) == magic else { return nil }
        let head = Head(
            start: Int(value.number(4) as UInt32),
            shards: Int(value.number(24) as UInt16),
            posts: Int(value.number(26) as UInt16),
            merged: Int(value.number(28) as UInt16),
            limit: Int(value[30]),
            flags: value[31]
        )
        let numbers = head.shards + 2 * head.posts + head.merged
        guard head.start == headBytes + 8 * numbers, head.start <= value.count else { return nil }
        return RenderedPage(head, value)
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
