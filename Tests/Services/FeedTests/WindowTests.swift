import Contracts
import Feed
import ServiceKit
import Testing

/// A part of a timeline, made of what each source gives for it.
@Suite struct `A window of a timeline` {
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `has the page that the whole timeline has, however its sources are cut`(seed: UInt64) {
        var random = Seeded(state: seed)
        // Entries and merged posts may overlap; of each source no more is known than the window takes.
        let sources = (0..<3).map { _ in
            (0..<Int.random(in: 0...60, using: &random)).map { _ in
                post(Int64.random(in: 1...200, using: &random))
            }
        }
        for limit in [1, 3, 10] {
            for bounds in [(0, .max), (0, 100), (50, .max), (40, 160)] as [(Int64, Int64)] {
                for isAscending in [false, true] {
                    let request = PageRequest(
                        maxID: bounds.1 == .max ? nil : bounds.1,
                        sinceID: isAscending ? nil : bounds.0,
                        minID: isAscending ? bounds.0 : nil,
                        limit: limit
                    )
                    let window = FeedWindow(
                        above: bounds.0,
                        below: bounds.1,
                        limit: limit * 2,
                        isAscending: isAscending
                    )
                    let given = sources.map { answer($0, window) }

                    let part = HomeTimeline(
                        entries: given[0],
                        merged: given[1] + given[2],
                        floor: PostID(rawValue: 0),
                        in: window
                    )

                    let whole = HomeTimeline(
                        entries: sources[0],
                        merged: sources[1] + sources[2],
                        floor: PostID(rawValue: 0)
                    )
                    #expect(part.page(request) == whole.page(request), "seed \(seed) \(request)")
                    var all = request
                    all.limit = .max
                    let rest = whole.page(all)
                    #expect(part.references == window.cut(rest), "seed \(seed) \(request)")
                    #expect(part.isExhausted == (rest.count < window.limit))
                }
            }
        }
    }

    @Test func `nothing at or below the floor is in it, and then it may lack posts`() {
        let window = FeedWindow(limit: 10)
        let timeline = HomeTimeline(
            entries: [post(7), post(5)],
            merged: [post(3), post(6)],
            floor: PostID(rawValue: 5),
            in: window
        )

        #expect(timeline.references == [post(7), post(6)])
        #expect(timeline.isExhausted && !timeline.isComplete)
    }

    private func post(_ id: Int64) -> PostReference {
        PostReference(id: PostID(rawValue: id), author: UserID(rawValue: id % 7))
    }

    /// What a store answers for a window.
    private func answer(_ posts: [PostReference], _ window: FeedWindow) -> [PostReference] {
        let inside = Set(posts).filter {
            $0.id.rawValue > window.above && $0.id.rawValue < window.below
        }
        return window.cut(inside.sorted { $0.id > $1.id })
    }
}
