package import JSON
package import Postgres
package import Sharding

/// What a committed write still has to cause elsewhere.
///
/// An effect is enqueued by the statement ``enqueue``, inside the write that causes it, and runs at least
/// once, in any order: its handler must converge under repetition.
package struct Effect: Sendable {
    package var kind: String

    /// Version of the payload; a handler of an older version puts the effect back for a newer worker.
    package var version: Int16

    /// The bucket whose shard keeps the effect until it is done, which is that of its cause.
    package var owner: BucketID

    /// A JSON object.
    package var payload: [UInt8]

    /// The W3C trace of the request that caused it.
    package var traceparent: String?

    /// How long after the commit it may first run.
    package var delay: Duration

    package init(
        _ kind: String,
        version: Int16 = 1,
        owner: some Routed,
        payload: some JSONEncodable,
        traceparent: String? = nil,
        delay: Duration = .zero
    ) {
        self.kind = kind
        self.version = version
        self.owner = owner.bucket
        self.payload = payload.jsonBytes
        self.traceparent = traceparent
        self.delay = delay
    }

    /// The statement that enqueues the effect; it belongs into the write of its cause.
    package var enqueue: SQL {
        "\(fragment: insertion)"
    }

    /// The same for use after `WITH`: enqueues once if the common table expression `rows` is not empty.
    package func enqueue(whenAny rows: StaticString) -> SQL {
        "\(fragment: insertion) WHERE EXISTS (SELECT FROM \(unsafe: "\(rows)"))"
    }

    /// Enqueues one effect for each row of a common table expression with the columns bucket, payload and
    /// traceparent; for use after `WITH`.
    package static func enqueue(
        _ kind: String,
        version: Int16,
        forEach rows: StaticString
    ) -> SQL {
        """
        INSERT INTO jobs.outbox (bucket, id, kind, version, payload, traceparent)
        SELECT bucket, control.next_id(bucket), \(kind)::text, \(version)::smallint, payload,
            traceparent
        FROM \(unsafe: "\(rows)")
        """
    }

    private var insertion: SQL {
        """
        INSERT INTO jobs.outbox
            (bucket, id, kind, version, payload, traceparent, available_at)
        SELECT \(owner)::smallint, control.next_id(\(owner)::smallint), \(kind)::text,
            \(version)::smallint, \(String(decoding: payload, as: UTF8.self))::text::jsonb,
            \(traceparent)::text, now() + \(delay.seconds)::float8 * interval '1 second'
        """
    }
}

/// An effect that a worker holds a lease on.
package struct ClaimedEffect: Sendable {
    package let kind: String
    package let version: Int16
    package let owner: BucketID
    package let id: Int64
    package let payload: [UInt8]
    package let traceparent: String?

    /// How often it has been claimed, this time included.
    package let attempts: Int

    /// When its cause was committed, by the clock of its shard.
    package let createdAt: Timestamp

    /// Names this lease; a worker whose lease ran out cannot change the row of its successor.
    package let token: Int64

    package init(
        kind: String,
        version: Int16 = 1,
        owner: BucketID,
        id: Int64,
        payload: [UInt8],
        traceparent: String? = nil,
        attempts: Int = 1,
        createdAt: Timestamp = Timestamp(microseconds: 0),
        token: Int64 = 0
    ) {
        self.kind = kind
        self.version = version
        self.owner = owner
        self.id = id
        self.payload = payload
        self.traceparent = traceparent
        self.attempts = attempts
        self.createdAt = createdAt
        self.token = token
    }

    /// The payload as a value; what cannot be read will not become readable, so it is given up.
    package func decode<T>(_ make: (JSONValue) -> T?) throws(EffectError) -> T {
        guard let json = try? JSONReader.parse(payload), let value = make(json) else {
            // The parser's error adds nothing to the payload, which the dead letter shows.
            throw .dead("the payload of \(kind) version \(version) cannot be read")
        }
        return value
    }

    /// Completes the effect and enqueues what follows from it, in one statement for a handler's write.
    ///
    /// Does nothing if the lease was lost: then the successor enqueues the same children.
    package func completion(thenEnqueue children: [Effect]) -> SQL {
        precondition(children.allSatisfy { $0.owner == owner }, "children stay in their bucket")
        return """
            WITH done AS (
                DELETE FROM jobs.outbox
                WHERE bucket = \(owner) AND id = \(id) AND lease_token = \(token)
                RETURNING bucket
            )
            INSERT INTO jobs.outbox (bucket, id, kind, version, payload, traceparent)
            SELECT done.bucket, control.next_id(done.bucket), child.kind, child.version,
                child.payload::jsonb, \(traceparent)::text
            FROM done, unnest(
                \(children.map(\.kind))::text[],
                \(children.map(\.version))::smallint[],
                \(children.map { String(decoding: $0.payload, as: UTF8.self) })::text[]
            ) AS child (kind, version, payload)
            """
    }
}

extension Duration {
    var seconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}
