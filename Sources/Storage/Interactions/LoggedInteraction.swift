import JSON
import Postgres
internal import Sharding

/// A row of the log as a shard has it: whatever the version that wrote it, it can be exported.
struct LoggedInteraction: RowDecodable {
    let loggedAt: Timestamp
    let id: Int64
    private let at: Timestamp
    private let kind: Int16
    private let viewer: Int64
    private let request: String
    private let surface: String
    private let ordering: String
    private let posts: [Int64]
    private let positions: [Int16]
    private let milliseconds: [Int32]

    static let columns: SQL = """
        logged_at, id, at, kind, viewer, request, surface, ordering, posts, positions, milliseconds
        """

    init(row: inout Row) throws(DatabaseError) {
        loggedAt = try row.next()
        id = try row.next()
        at = try row.next()
        kind = try row.next()
        viewer = try row.next()
        request = try row.next()
        surface = try row.next()
        ordering = try row.next()
        posts = try row.next()
        positions = try row.next()
        milliseconds = try row.next()
    }

    /// One line of an exported file. Ids are texts, as in the API: not every reader of JSON has 63 bits.
    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("logged_at", loggedAt.iso8601)
            json.field("at", at.iso8601)
            json.field("kind", kind == Interaction.Kind.served.rawValue ? "served" : "seen")
            json.field("viewer", String(viewer))
            json.field("request", request)
            json.field("surface", surface)
            json.field("ordering", ordering)
            json.field("posts", posts.map { String($0) })
            json.field("positions", positions.map { Int($0) })
            json.field("milliseconds", milliseconds.map { Int($0) })
        }
    }

    static func lines(_ rows: [LoggedInteraction]) -> [UInt8] {
        var lines: [UInt8] = []
        for row in rows {
            var json = JSONWriter()
            row.write(to: &json)
            lines += json.bytes
            lines.append(UInt8(ascii: "\n"))
        }
        return lines
    }
}
