internal import Administration
internal import Coordination
internal import Sharding

/// Which two servers a stream was begun between.
///
/// A stream is good only between these very servers, in these lives of theirs. One that was promoted has lost its slots,
/// or may have lost rows which the other side takes for delivered: PostgreSQL 15 notices neither. So the life of each is
/// noted on the reader when the stream begins, and whoever relies on the stream compares.
struct StreamServers {
    private let move: MoveID
    private let entry: String
    private let writer: ShardID
    private let reader: ShardID
    private let shards: ShardSessions

    /// What a session says of its server: system identifier and timeline, of both sides.
    struct Lives: Sendable, Equatable {
        let writer: String
        let reader: String
    }

    /// Of the stream that brings the move's rows: for a rollback, the reverse stream of the move that it takes back.
    init(_ spec: MoveSpec, _ shards: ShardSessions) {
        if case .rollback(let original) = spec.kind {
            (move, entry) = (original, Self.reverseEntry)
        } else {
            (move, entry) = (spec.id, "servers")
        }
        (writer, reader, self.shards) = (spec.source, spec.target, shards)
    }

    /// Of the stream by which the move could be taken back.
    init(reverseOf spec: MoveSpec, _ shards: ShardSessions) {
        (move, entry) = (spec.id, Self.reverseEntry)
        (writer, reader, self.shards) = (spec.target, spec.source, shards)
    }

    private static let reverseEntry = "reverse servers"

    private var key: MoverSessions.StreamKey { .init(move: move, entry: entry) }

    /// Notes the present ones: the stream begins now.
    func note() throws {
        let lives = try present()
        try shards[reader].rows(
            """
            INSERT INTO control.move_note (move, entry, value)
            VALUES ($1, $2, jsonb_build_object('writer', $3::text, 'reader', $4::text))
            ON CONFLICT (move, entry) DO UPDATE SET value = excluded.value, written_at = now()
            """,
            [move.description, entry, lives.writer, lives.reader]
        )
        shards.pool.keep(lives, of: key)
    }

    /// Throws `lost` unless both servers are still those that the stream began with.
    func require() throws {
        let noted = try shards.pool.lives(of: key) ?? read()
        let now = try present()
        guard noted != now else { return }
        let changed = noted.writer == now.writer ? reader : writer
        throw MoveFailure(
            kind: .lost,
            message:
                "\(changed) is another server than when the stream began, or was promoted meanwhile "
                + "(\(noted.writer) → \(noted.reader) then, \(now.writer) → \(now.reader) now)"
        )
    }

    private func read() throws -> Lives {
        let row = try shards[reader].rows(
            """
            SELECT value ->> 'writer', value ->> 'reader' FROM control.move_note
            WHERE move = $1 AND entry = $2
            """,
            [move.description, entry]
        ).first
        guard let row, let writer = row[0], let reader = row[1] else {
            throw MoveFailure(
                kind: .lost,
                message:
                    "\(self.reader) does not know between which servers the stream of \(move) began"
            )
        }
        let lives = Lives(writer: writer, reader: reader)
        shards.pool.keep(lives, of: key)
        return lives
    }

    private func present() throws -> Lives {
        Lives(writer: try shards[writer].server ?? "-", reader: try shards[reader].server ?? "-")
    }
}
