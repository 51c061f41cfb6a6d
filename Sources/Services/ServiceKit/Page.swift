import HTTP
import Sharding

/// Which part of a list by id is asked for.
package struct PageRequest: Sendable, Equatable {
    /// Older than this id.
    package var maxID: Int64?
    /// Newer than this id, from the newest on.
    package var sinceID: Int64?
    /// Newer than this id, from just after it on.
    package var minID: Int64?
    package var limit: Int

    package init(
        maxID: Int64? = nil,
        sinceID: Int64? = nil,
        minID: Int64? = nil,
        limit: Int
    ) {
        self.maxID = maxID
        self.sinceID = sinceID
        self.minID = minID
        self.limit = limit
    }

    /// A limit above the most is cut, one below 1 raised; an id that is none is refused.
    package init(_ input: Input, defaultLimit: Int = 20, mostLimit: Int = 40) throws(ServiceError) {
        maxID = try Self.id("max_id", in: input)
        sinceID = try Self.id("since_id", in: input)
        minID = try Self.id("min_id", in: input)
        limit = min(max(input.int("limit") ?? defaultLimit, 1), mostLimit)
    }

    private static func id(_ name: String, in input: Input) throws(ServiceError) -> Int64? {
        guard let text = input.string(name), !text.isEmpty else { return nil }
        guard let id = Int64(text), id >= 0 else { throw .invalid("\(name) is not an id") }
        return id
    }

    /// Whether it is the newest part, whatever that is.
    package var isFirst: Bool { maxID == nil && sinceID == nil && minID == nil }

    /// Whether rows are read upwards, from the lower bound; they are shown newest first all the same.
    package var isAscending: Bool { minID != nil }

    /// Exclusive bounds, for `id > lower AND id < upper`.
    package var lower: Int64 { max(minID ?? 0, sinceID ?? 0) }
    package var upper: Int64 { maxID ?? .max }
}

extension Call {
    /// The `Link` header of a page whose first and last entry have these cursors; nil for an empty one.
    ///
    /// `isFull` says that there may be more below; every page that has entries links upwards.
    func link(first: Int64?, last: Int64?, isFull: Bool) -> String? {
        guard let first, let last else { return nil }
        let kept = request.query.pairs
            .filter { !["max_id", "since_id", "min_id"].contains($0.0) }
            .map { "\(PercentEncoding.encode($0.0))=\(PercentEncoding.encode($0.1))" }
        func url(_ cursor: String) -> String {
            "<\(publicURL)\(request.path)?\((kept + [cursor]).joined(separator: "&"))>"
        }
        var links: [String] = []
        if isFull { links.append(url("max_id=\(last)") + "; rel=\"next\"") }
        links.append(url("min_id=\(first)") + "; rel=\"prev\"")
        return links.joined(separator: ", ")
    }
}

extension Response {
    /// Adds the `Link` header of a page; see ``Call/link(first:last:isFull:)``.
    package mutating func link(
        _ call: Call,
        first: Int64?,
        last: Int64?,
        isFull: Bool
    ) {
        guard let link = call.link(first: first, last: last, isFull: isFull) else { return }
        headers["Link"] = link
    }
}
