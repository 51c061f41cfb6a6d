import Pages
import Testing

@Suite struct `A rendered page` {
    private func page(viewer: Int64?, posts: Int, merged: Int, shards: Int) -> RenderedPage {
        RenderedPage(
            facts: PageFacts(
                viewer: viewer,
                posts: (0..<Int64(posts)).map { .init(post: 1 << 40 + $0, author: 77 + $0) },
                merged: (0..<Int64(merged)).map { 900 + $0 },
                position: .init(shards: 42, transactions: (0..<Int64(shards)).map { 1_000 + $0 })
            ),
            limit: 20,
            first: posts == 0 ? nil : 1 << 50,
            last: posts == 0 ? nil : 1 << 40,
            isFull: posts > 0,
            renderedAt: 1_790_000_000_123,
            tag: "\"abcdefghijklmnopqrstuv\"",
            stamps: [7, 8],
            target: Array(repeating: UInt8(ascii: "t"), count: posts),
            lines: Array("ETag: x\r\n".utf8),
            json: Array("[{\"id\":\"1\"}]".utf8)
        )
    }

    @Test(arguments: [(0, 0, 0), (1, 0, 1), (20, 3, 16), (40, 200, 64)])
    func `is read as it was written`(posts: Int, merged: Int, shards: Int) throws {
        for viewer in [nil, 5] as [Int64?] {
            let page = page(viewer: viewer, posts: posts, merged: merged, shards: shards)

            let read = try #require(RenderedPage(page.bytes))

            #expect(read == page)
            #expect(read.viewer == viewer && read.limit == 20 && read.isFull == (posts > 0))
            #expect(read.first == (posts == 0 ? nil : 1 << 50))
            #expect(read.last == (posts == 0 ? nil : 1 << 40))
            #expect(read.renderedAt == 1_790_000_000_123)
            #expect(read.facts.posts.map(\.author) == (0..<Int64(posts)).map { 77 + $0 })
            #expect(read.facts.merged == (0..<Int64(merged)).map { 900 + $0 })
            #expect(read.facts.position.transactions == (0..<Int64(shards)).map { 1_000 + $0 })
            #expect(read.tag == "\"abcdefghijklmnopqrstuv\"" && read.target.count == posts)
            #expect(Array(read.bytes[read.lines]) == Array("ETag: x\r\n".utf8))
            #expect(Array(read.bytes[read.body]) == Array("[{\"id\":\"1\"}]".utf8))
        }
    }

    @Test func `what is no page, or a part of one, is a miss`() {
        let page = page(viewer: 5, posts: 3, merged: 1, shards: 2)
        let head = page.body.lowerBound

        #expect(RenderedPage([]) == nil)
        for length in 0..<head { #expect(RenderedPage(Array(page.bytes[..<length])) == nil) }
        for place in [0, 4, 48, 50, 52, 56, 58] {
            var broken = page.bytes
            broken[place] &+= 1
            #expect(RenderedPage(broken) == nil, "byte \(place)")
        }
    }
}
