import Administration
import ArgumentParser
import Coordination
import JSON
import Sharding

/// Compares what both sides of a move hold.
struct VerifyCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract:
            "Compares the rows of moves on both sides, while they run or keep the way back open.",
        discussion: """
            The coordinator compares every move before it is activated, without being asked. This looks again: at \
            each move whose rows are on both sides, table by table. A difference under writes is looked at several \
            times before it counts; status 1 if one stays.
            """
    )

    /// How often a difference is looked at: a write may be on its way.
    private static let looks = 8

    @Argument(help: "Moves, such as m12; without one, every move that can be compared.")
    var moves: [String] = []

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    struct Outcome {
        let move: MoveID
        let rows: Int64
        let differing: [String]
    }

    func run(on cluster: Cluster) async throws {
        let state = try await cluster.controlState()
        let map = try await cluster.map()
        let secrets = try cluster.secrets()
        var outcomes: [Outcome] = []
        for move in try chosen(state) {
            outcomes.append(try await compare(move.spec, map, secrets))
            let last = outcomes[outcomes.count - 1]
            let verdict =
                last.differing.isEmpty
                ? "equal" : "DIFFERENT in \(last.differing.joined(separator: ", "))"
            output.progress("\(last.move): \(last.rows) rows, \(verdict)")
        }
        let different = outcomes.filter { !$0.differing.isEmpty }
        output.print("\(outcomes.count) moves compared, \(different.count) differ") { json in
            json.field("compared", outcomes.count)
            json.field("different", different.count)
            json.key("moves")
            json.array { json in
                for outcome in outcomes {
                    json.object { json in
                        json.field("id", outcome.move.description)
                        json.field("rows", outcome.rows)
                        json.field("differing", outcome.differing)
                    }
                }
            }
        }
        guard different.isEmpty else {
            throw Failure(.unhealthy, "\(different.count) moves differ")
        }
    }

    private func chosen(_ state: ControlState) throws -> [BucketMove] {
        let comparable = state.active.filter { $0.canCompare }
        guard !moves.isEmpty else { return comparable }
        return try moves.map(moveID).map { id in
            guard let move = state.move(id) else {
                throw Failure(.usage, "there is no move \(id); see shardctl status")
            }
            guard move.canCompare else {
                throw Failure(
                    .conflict,
                    "\(id) is \(move.step.rawValue): its rows are on one side only"
                )
            }
            return move
        }
    }

    // Small steps without a loop in a loop: the optimiser of Swift 6.3 crashes on the whole in one function.
    private func compare(
        _ spec: MoveSpec,
        _ map: ShardMap,
        _ secrets: ShardSecrets
    ) async throws -> Outcome {
        let sides = try sides(of: spec, map, secrets)
        var rows: Int64 = 0
        var differing: [String] = []
        for table in try sides.source.tables() {
            let equal = try await equalRows(of: table, sides)
            rows += equal ?? 0
            if equal == nil { differing.append(table) }
        }
        return Outcome(move: spec.id, rows: rows, differing: differing)
    }

    private typealias Sides = (source: RowDigests, target: RowDigests)

    private func sides(
        of spec: MoveSpec,
        _ map: ShardMap,
        _ secrets: ShardSecrets
    ) throws -> Sides {
        let digests = try [spec.source, spec.target].map { id in
            try naming(id) {
                let setup = ShardSetup(shard: try map.required(id.name), secrets: secrets)
                return RowDigests(try setup.moverSession(), spec.buckets)
            }
        }
        return (digests[0], digests[1])
    }

    /// How many rows both sides have of a table; nil if they differ, whenever one looks.
    private func equalRows(of table: String, _ sides: Sides) async throws -> Int64? {
        for look in 1...Self.looks {
            if let rows = try sides.source.rows(of: table, equalTo: sides.target) { return rows }
            if look < Self.looks { try await Task.sleep(for: .milliseconds(250)) }
        }
        return nil
    }
}

extension BucketMove {
    /// Both sides have the rows, and a stream keeps them equal.
    fileprivate var canCompare: Bool {
        switch step {
        case .catchingUp, .verifying, .fencing, .fenced, .drained, .reverseSync: true
        default: false
        }
    }
}

/// The rows of some buckets on one shard, in one number for each table.
private struct RowDigests {
    struct Digest: Equatable {
        let rows: Int64
        let hash: String
    }

    private let session: AdminSession
    private let buckets: String

    init(_ session: AdminSession, _ buckets: [BucketID]) {
        self.session = session
        self.buckets = "{" + buckets.map(\.description).joined(separator: ",") + "}"
    }

    func tables() throws -> [String] {
        try session.rows("SELECT name FROM control.bucket_tables()").compactMap { $0[0] }
    }

    /// How many rows there are, if the other side has the same.
    func rows(of table: String, equalTo other: RowDigests) throws -> Int64? {
        let (mine, theirs) = (try digest(of: table), try other.digest(of: table))
        return mine == theirs ? mine.rows : nil
    }

    private func digest(of table: String) throws -> Digest {
        let row = try session.rows(
            """
            SELECT count(*), coalesce(bit_xor(hash_record_extended(t, 0)), 0)
            FROM \(table) AS t WHERE t.bucket = ANY ($1::smallint[])
            """,
            [buckets]
        )[0]
        return Digest(rows: row[0].flatMap { Int64($0) } ?? 0, hash: row[1] ?? "")
    }
}
