internal import Administration
internal import Coordination
internal import Sharding

/// The pause of a move: every way that its owner rows go.
struct MoveFences {
    /// Longer than any policy's pause: whoever waits for the marker is cancelled before.
    private static let markerLimit = Duration.seconds(10)

    /// Between two tries of the fence, for the writers that waited behind it.
    private static let breath = Duration.milliseconds(10)

    let spec: MoveSpec
    let shards: ShardSessions

    init(_ spec: MoveSpec, _ shards: ShardSessions) {
        self.spec = spec
        self.shards = shards
    }

    /// `own → fenced` for all buckets in one transaction. Writers under way are waited for; who holds a bucket
    /// for too long loses its session, and finds the bucket fenced when it comes back.
    func fence(_ attempt: FenceAttempt, _ epochs: [Epoch]) throws {
        let source = try shards[spec.source]
        let start = ContinuousClock.now
        var tries = 0
        while try !tryToFence(attempt, epochs, source) {
            tries += 1
            guard start.duration(to: .now) < shards.settings.fenceLimit else {
                throw MoveFailure(
                    kind: .transient,
                    message: "writers of \(spec.source) held the buckets for too long"
                )
            }
            if tries >= shards.settings.fenceTries { try endHolders(source) }
            try shards.pause(Self.breath)
        }
    }

    /// False when writers under way did not end in time.
    private func tryToFence(
        _ attempt: FenceAttempt,
        _ epochs: [Epoch],
        _ source: AdminSession
    ) throws(AdminError) -> Bool {
        do {
            try source.rows(
                "SELECT control.fence_for_move($1, $2, $3, $4, $5)",
                [
                    attempt.description, spec.bucketArray, array(epochs), spec.target.name,
                    String(Int64(shards.settings.fencePatience / .milliseconds(1))),
                ]
            )
            return true
        } catch {
            guard error.sqlstate == "55P03" else { throw error }
            return false
        }
    }

    /// Ends the sessions that have been holding one of the buckets for longer than the fence is patient.
    private func endHolders(_ source: AdminSession) throws {
        try source.rows(
            """
            SELECT pg_terminate_backend(l.pid)
            FROM pg_locks AS l
            JOIN pg_stat_activity AS a ON a.pid = l.pid
            WHERE l.locktype = 'advisory' AND l.classid = 32341 AND l.objsubid = 2 AND l.granted
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND l.objid::bigint = ANY ($1::bigint[]) AND l.pid <> pg_backend_pid()
                AND a.xact_start < clock_timestamp() - $2::float8 * interval '1 millisecond'
            """,
            [spec.bucketArray, String(Int64(shards.settings.fencePatience / .milliseconds(1)))]
        )
    }

    /// Until the target shows the attempt's markers: then it has all that the source accepted.
    func awaitMarker(of attempt: FenceAttempt) throws {
        // A marker says that everything before it is here only while nobody has forgotten anything.
        try StreamServers(spec, shards).require()
        let target = try shards[spec.target]
        let start = ContinuousClock.now
        while try !hasMarkers(of: attempt, target) {
            guard start.duration(to: .now) < Self.markerLimit else {
                throw MoveFailure(
                    kind: .transient,
                    message: "the last writes have not reached \(spec.target)"
                )
            }
            try shards.pause(shards.settings.markerPoll)
        }
    }

    private func hasMarkers(
        of attempt: FenceAttempt,
        _ target: AdminSession
    ) throws(AdminError) -> Bool {
        let seen = try target.value(
            "SELECT count(*) FROM control.move_marker WHERE attempt = $1 AND \(spec.rowFilter)",
            [attempt.description]
        )
        return seen == String(spec.buckets.count)
    }

    func release(_ attempt: FenceAttempt) throws {
        try shards[spec.source].rows(
            "SELECT control.release($1, $2)",
            [attempt.description, spec.bucketArray]
        )
    }

    func giveUp(_ attempt: FenceAttempt, _ epochs: [Epoch]) throws -> MoveFact {
        let held = try shards[spec.source].value(
            "SELECT array_to_string(control.give_up($1, $2, $3), ',')",
            [attempt.description, spec.bucketArray, array(epochs)]
        )
        guard let held else { return .released }
        return .gaveUp(
            held.split(separator: ",").compactMap { Int64($0) }.map { Epoch(rawValue: $0) }
        )
    }

    /// `incoming → own`. Whoever calls it has seen the attempt released.
    func activate(_ attempt: FenceAttempt) throws {
        try shards[spec.target].rows(
            "SELECT control.activate($1, $2)",
            [attempt.description, spec.bucketArray]
        )
    }

    func settleSource(_ attempt: FenceAttempt) throws {
        try shards[spec.source].rows(
            "SELECT control.mark_gone($1, $2)",
            [attempt.description, spec.bucketArray]
        )
    }
}
