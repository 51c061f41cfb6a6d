internal import Administration
internal import Coordination
internal import Sharding

/// The streams of one move: publication, slot and subscription, forward and back.
struct MoveStreams {
    /// How long making a slot may wait for transactions under way on its server.
    private static let slotPatience = Duration.seconds(120)

    let spec: MoveSpec
    let shards: ShardSessions
    private let parts: StreamParts

    init(_ spec: MoveSpec, _ shards: ShardSessions) {
        self.spec = spec
        self.shards = shards
        parts = StreamParts(shards)
    }

    // MARK: Before the copy

    /// The target's owner rows become `incoming`, one above what the source has; gives what the source has.
    func prepareTarget() throws -> [Epoch] {
        let owners = try OwnerRows(shards[spec.source]).rows(of: spec.buckets)
        let epochs = try zip(spec.buckets, owners).map { bucket, row in
            guard let row, row.state == .own else {
                throw MoveFailure(
                    kind: .refused,
                    message: "\(spec.source) does not own bucket \(bucket): "
                        + "shardctl doctor says where it is"
                )
            }
            return row.epoch
        }
        if spec.kind == .copy { try refuseStrangeRows() }
        try introduce()
        try shards[spec.target].rows(
            "SELECT control.mark_incoming($1, $2, $3, $4)",
            [
                spec.id.description, spec.bucketArray, array(epochs.map(\.next)),
                spec.source.name,
            ]
        )
        if spec.kind != .copy { try watch() }
        return epochs
    }

    /// Each side learns where the other is: what it says of a next owner then leads there without etcd.
    private func introduce() throws {
        for (shard, other) in [(spec.source, spec.target), (spec.target, spec.source)] {
            try shards[shard].rows(
                "SELECT control.put_shard_record($1, $2)",
                [other.name, shards.pool.record(of: other).line]
            )
        }
    }

    /// Rows where no move has brought any yet would be mixed with those of the copy.
    private func refuseStrangeRows() throws {
        let target = try shards[spec.target]
        let owners = try OwnerRows(target).rows(of: spec.buckets)
        let free = zip(spec.buckets, owners).filter { _, row in
            row?.state != .incoming || row?.attempt != spec.id.description
        }.map(\.0)
        let strange = try OrphanRows(target).tables(with: free)
        guard strange.isEmpty else {
            throw MoveFailure(
                kind: .refused,
                message: "\(spec.target) has rows of these buckets in "
                    + "\(strange.joined(separator: ", ")): shardctl doctor --repair removes them"
            )
        }
    }

    /// From the start: what earlier runs left is removed, and a slot with an exported snapshot is made.
    func open(run: Int) throws {
        shards.pool.dropSnapshot(of: spec.id)
        let runs = try CopyRuns(spec, shards[spec.target])
        try runs.begin(run)
        try endOtherCopies()
        try detach()
        try CleanUp(spec, shards).deleteTargetRows(run: run)
        try runs.forgetEarlier(than: run)
        try StreamServers(spec, shards).note()
        let source = try shards[spec.source]
        let stream = spec.stream(run: run)
        try parts.publish(spec, stream, on: source)
        let exporter = try shards.another(
            spec.source,
            name: copyName,
            replication: true
        )
        exporter.answerTimeout = Self.slotPatience
        let made = try exporter.replicationCommand(
            "CREATE_REPLICATION_SLOT \"\(stream)\" LOGICAL pgoutput (SNAPSHOT 'export')"
        )
        guard let name = made.first?[2] else {
            throw MoveFailure(kind: .transient, message: "\(spec.source) exported no snapshot")
        }
        exporter.isInterrupted = nil
        shards.pool.keep(.init(session: exporter, name: name, run: run), of: spec.id)
    }

    /// What sessions of this move's copy are called on both servers.
    var copyName: String { "tessera copy \(spec.id)" }

    /// A predecessor that sleeps may hold the copy's transactions open.
    private func endOtherCopies() throws {
        for shard in [spec.source, spec.target] {
            try shards[shard].rows(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = $1 AND pid <> pg_backend_pid()
                """,
                [copyName]
            )
        }
    }

    // MARK: The forward stream

    /// Subscribes the target to the source's slot, from where the copy ended.
    func attach(run: Int) throws {
        try CopyRuns(spec, shards[spec.target]).require(run)
        try StreamServers(spec, shards).require()
        let stream = spec.stream(run: run)
        try parts.requireSlot(stream, on: spec.source)
        try watch()
        try parts.subscribe(spec.target, to: spec.source, stream)
    }

    /// From now on the keys that the stream writes are logged.
    private func watch() throws {
        try shards[spec.target].rows(
            """
            INSERT INTO control.move_watch (bucket, move)
            SELECT u.bucket, $2 FROM unnest($1::smallint[]) AS u(bucket)
            ON CONFLICT (bucket) DO UPDATE SET move = excluded.move
            """,
            [spec.bucketArray, spec.id.description]
        )
    }

    /// Removes the stream that brought the rows, of every run, or what there is of it.
    func detach() throws {
        guard spec.kind == .copy else {
            let stream = spec.stream(run: 0)
            try parts.unsubscribe(spec.target, stream)
            try parts.dropSlot(stream, on: spec.source)
            return try parts.unpublish(stream, on: spec.source)
        }
        for (_, stream) in try runs(of: .subscription, on: spec.target) {
            try parts.unsubscribe(spec.target, stream)
        }
        for (_, stream) in try runs(of: .slot, on: spec.source) {
            try parts.dropSlot(stream, on: spec.source)
        }
        for (_, stream) in try runs(of: .publication, on: spec.source) {
            try parts.unpublish(stream, on: spec.source)
        }
    }

    private func runs(
        of kind: Leftover.Kind,
        on shard: ShardID
    ) throws -> [(kind: Leftover.Kind, name: StreamName)] {
        try StreamParts.all(on: shards[shard]).filter {
            $0.kind == kind && $0.name.move == spec.id && $0.name.run != nil
        }
    }

    /// How far the target is behind, and how long somebody has been writing the buckets.
    func lag(run: Int) throws -> MoveFact {
        try StreamServers(spec, shards).require()
        let bytes = try parts.probe(spec, spec.stream(run: run), from: spec.source, to: spec.target)
        if bytes <= Self.settlingLagBytes {
            // Keys compared now need not be compared while the buckets are fenced.
            try Verification(spec, shards).settleWhatIsThere()
        }
        let oldest = try shards[spec.source].value(
            """
            SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)
            FROM pg_locks AS l
            JOIN pg_stat_activity AS a ON a.pid = l.pid
            WHERE l.locktype = 'advisory' AND l.classid = 32341 AND l.objsubid = 2 AND l.granted
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND l.objid::bigint = ANY ($1::bigint[])
            """,
            [spec.bucketArray]
        )
        return .lag(bytes: bytes, oldestWriter: .seconds(oldest.flatMap { Double($0) } ?? 0))
    }

    /// Above it the stream has enough to do without us.
    private static let settlingLagBytes: Int64 = 4 << 20

    // MARK: The reverse stream

    /// Publication and slot on the target, before the fence: making a slot waits for whatever is under way.
    func prepareReverse() throws {
        guard let reverse = spec.reverse else { return }
        let target = try shards[spec.target]
        try parts.publish(spec, reverse, on: target)
        let known = try target.value(
            "SELECT 1 FROM pg_replication_slots WHERE slot_name = $1",
            [reverse.description]
        )
        guard known == nil else { return }
        target.answerTimeout = Self.slotPatience
        defer { target.answerTimeout = shards.settings.answerTimeout }
        try target.rows(
            "SELECT pg_create_logical_replication_slot($1, 'pgoutput')",
            [reverse.description]
        )
    }

    /// Subscribes the source to the target, from the bucket's first own write there.
    func startReverse() throws {
        guard let reverse = spec.reverse else { return }
        try parts.requireSlot(reverse, on: spec.target)
        let source = try shards[spec.source]
        let known = try source.value(
            "SELECT 1 FROM pg_subscription WHERE subname = $1 AND \(StreamParts.isHere)",
            [reverse.description]
        )
        guard known == nil else { return }
        let target = try shards[spec.target]
        guard
            let start = try target.value(
                "SELECT value ->> 'lsn' FROM control.move_note WHERE move = $1 AND entry = $2",
                [spec.id.description, "activated at"]
            )
        else {
            throw MoveFailure(
                kind: .lost,
                message: "\(spec.target) does not say where its own writes begin"
            )
        }
        // What lies before it came from the source itself. A slot that is further has been read already.
        try target.rows(
            """
            SELECT pg_replication_slot_advance(slot_name, $2::pg_lsn)
            FROM pg_replication_slots
            WHERE slot_name = $1 AND confirmed_flush_lsn < $2::pg_lsn
            """,
            [reverse.description, start]
        )
        try StreamServers(reverseOf: spec, shards).note()
        try parts.subscribe(spec.source, to: spec.target, reverse)
    }

    func reverseLag() throws -> MoveFact {
        guard let reverse = spec.reverse else { return .lag(bytes: 0, oldestWriter: .zero) }
        try StreamServers(reverseOf: spec, shards).require()
        return .lag(
            bytes: try parts.probe(spec, reverse, from: spec.target, to: spec.source),
            oldestWriter: .zero
        )
    }

    func stopReverse() throws {
        guard let reverse = spec.reverse else { return }
        try parts.unsubscribe(spec.source, reverse)
        try parts.dropSlot(reverse, on: spec.target)
        try parts.unpublish(reverse, on: spec.target)
    }
}
