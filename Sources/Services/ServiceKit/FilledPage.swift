/// A page of what the viewer may see of a list.
///
/// What is left out leaves no trace: the page is filled from what follows, and its cursors are those of entries that
/// are shown. So neither a short page nor a link tells of something hidden.
package struct FilledPage<Shown: Sendable>: Sendable {
    /// Reads that one page may take; each later one takes more than the one before it.
    private static var roundLimit: Int { 10 }
    /// Entries of one later read.
    private static var mostEntries: Int { 160 }

    package var shown: [Shown] = []
    package var first: Int64?
    package var last: Int64?
    /// Whether there may be more below.
    package var isFull = false

    /// `read` gives entries newest first, at most the limit it is given; `show` those of them that may be seen.
    package init<Entry>(
        _ request: PageRequest,
        cursor: (Entry) -> Int64,
        read: (PageRequest) async throws -> [Entry],
        show: ([Entry]) async throws -> [(entry: Entry, shown: Shown)]
    ) async throws {
        var rest = request
        var found: [(cursor: Int64, shown: Shown)] = []
        for _ in 0..<Self.roundLimit {
            let entries = try await read(rest)
            guard let newest = entries.first, let oldest = entries.last else { break }
            let visible = try await show(entries).map { (cursor($0.entry), $0.shown) }
            if request.isAscending {
                found = visible + found
                rest.minID = cursor(newest)
            } else {
                found += visible
                rest.maxID = cursor(oldest)
            }
            guard entries.count >= rest.limit, found.count < request.limit else { break }
            rest.limit = min(max(2 * rest.limit, 40), Self.mostEntries)
        }
        let page = request.isAscending ? found.suffix(request.limit) : found.prefix(request.limit)
        shown = page.map(\.shown)
        first = page.first?.cursor
        last = page.last?.cursor
        isFull = page.count >= request.limit
    }
}
