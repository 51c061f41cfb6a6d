internal import Administration
internal import Coordination
internal import Sharding

/// Which run of a move's copy the target goes by: a mover that wakes up late has an earlier one.
struct CopyRuns {
    private let spec: MoveSpec
    private let target: AdminSession

    init(_ spec: MoveSpec, _ target: AdminSession) {
        self.spec = spec
        self.target = target
    }

    /// Notes that the run has begun; a run that is not higher than any before is refused.
    func begin(_ run: Int) throws {
        let noted = try target.value(
            """
            INSERT INTO control.move_note AS n (move, entry, value)
            VALUES ($1, 'run', jsonb_build_object('run', $2::integer))
            ON CONFLICT (move, entry) DO UPDATE SET value = excluded.value, written_at = now()
            WHERE (n.value ->> 'run')::integer < $2::integer
            RETURNING 1
            """,
            [spec.id.description, String(run)]
        )
        guard noted != nil else { throw isLate(run) }
    }

    /// Refuses any other run than the noted one, and keeps the note until the transaction ends.
    func require(_ run: Int) throws {
        let noted = try target.value(
            """
            SELECT 1 FROM control.move_note
            WHERE move = $1 AND entry = 'run' AND (value ->> 'run')::integer = $2::integer
            FOR SHARE
            """,
            [spec.id.description, String(run)]
        )
        guard noted != nil else { throw isLate(run) }
    }

    /// Removes what runs before this one noted and logged.
    func forgetEarlier(than run: Int) throws {
        try target.transaction {
            try require(run)
            let name = target.quoted(literal: spec.id.description)
            try target.run(
                """
                DELETE FROM control.move_watch WHERE move = \(name);
                DELETE FROM control.applied_key WHERE move = \(name);
                DELETE FROM control.move_note WHERE move = \(name) AND entry <> 'run';
                """
            )
        }
    }

    private func isLate(_ run: Int) -> MoveFailure {
        MoveFailure(
            kind: .refused,
            message: "run \(run) of the copy of \(spec.id) is not the present one on \(spec.target)"
        )
    }
}
