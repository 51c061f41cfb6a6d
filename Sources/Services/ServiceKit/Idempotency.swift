import Crypto
import Database
import HTTP
import Postgres
import Sharding

/// A request that its client may repeat: `Idempotency-Key` with the same body gets the first answer.
///
/// The answer is kept in the transaction that it speaks of, so that a crash between commit and answer loses
/// nothing. A repeat with another body is refused (422), one that meets the first under way as well (409).
package struct Idempotency: Sendable {
    /// How long answers are kept.
    package static let lifetime = Duration.seconds(24 * 3600)

    /// Longest key.
    package static let keyLimitBytes = 255

    private let key: String
    private let requestHash: [UInt8]

    /// Nil where the client sent no key.
    package init?(_ call: Call) throws(ServiceError) {
        guard let key = call.request.header("Idempotency-Key"), !key.isEmpty else { return nil }
        guard key.utf8.count <= Self.keyLimitBytes else {
            throw ServiceError(
                .badRequest,
                "The Idempotency-Key is longer than \(Self.keyLimitBytes) bytes."
            )
        }
        self.key = key
        // Hashed as understood and not as sent: multipart boundaries change when a client repeats.
        var description = call.request.method.rawValue + " " + call.request.path + "\n"
        Input.Value.object(call.input.root).describe(to: &description)
        requestHash = Digest.sha256(description)
    }

    /// The answer that this key has had; throws 422 where it was given to another request.
    fileprivate func earlierAnswer(
        of actor: some RoutedID,
        in database: Database
    ) async throws -> Response? {
        let kept: KeptAnswer? = try await database.row(
            """
            SELECT request_hash, status, content_type, body
            FROM idempotency.answer
            WHERE bucket = \(actor.bucket) AND actor = \(actor.rawValue) AND key = \(key)
            """,
            on: actor
        )
        guard let kept else { return nil }
        guard kept.requestHash == requestHash else {
            throw ServiceError(
                .unprocessable,
                "This Idempotency-Key was used for a request with another body."
            )
        }
        var response = Response(
            status: Status(Int(kept.status)),
            contentType: kept.contentType,
            kept.body
        )
        response.headers["Idempotent-Replayed"] = "true"
        return response
    }

    /// The statement that keeps the answer, for the write that it speaks of.
    fileprivate func keep(_ response: Response, of actor: some RoutedID) -> SQL {
        guard case .bytes(let body) = response.body else {
            preconditionFailure("only answers in one piece can be kept")
        }
        return """
            SELECT idempotency.keep(
                \(actor.bucket)::smallint, \(actor.rawValue)::bigint, \(key)::text,
                \(requestHash)::bytea, \(Int16(response.status.code))::smallint,
                \(response.headers["Content-Type"] ?? "application/json")::text, \(body)::bytea
            )
            """
    }

    /// Statement that forgets old answers of a bucket; a worker runs it now and then.
    package static func forgetting(bucket: BucketID, limit: Int) -> SQL {
        """
        DELETE FROM idempotency.answer
        WHERE (bucket, actor, key) IN (
            SELECT bucket, actor, key
            FROM idempotency.answer
            WHERE bucket = \(bucket)
              AND created_at < now() - \(Double(lifetime.components.seconds)) * interval '1 second'
            ORDER BY bucket, created_at
            LIMIT \(limit)
        )
        """
    }
}

/// What this module itself needs of each shard's schema.
package enum ServiceKitSchema {
    package static let requirement = SchemaRequirement(module: "ServiceKit", number: 1)
}

private struct KeptAnswer: RowDecodable {
    let requestHash: [UInt8]
    let status: Int16
    let contentType: String
    let body: [UInt8]

    init(row: inout Row) throws(DatabaseError) {
        requestHash = try row.next()
        status = try row.next()
        contentType = try row.next()
        body = try row.next()
    }
}

/// A write on the actor's shard that is done once, however often it is sent.
package struct OnceWrite: Sendable {
    /// Complete before the write: it is kept by the same transaction.
    package var response: Response
    package var statements: [SQL]

    package init(response: Response, statements: [SQL]) {
        self.response = response
        self.statements = statements
    }
}

extension Call {
    /// Writes and answers once for each `Idempotency-Key` of the actor; without a key, once for each request.
    ///
    /// `prepare` makes the answer and the statements without writing anything; what its statements refuse
    /// is thrown as it is. All statements belong to the actor's bucket. Where `prepare` is dear or leaves
    /// something behind, `looksFirst` keeps it from running for an answer that has been given.
    package func once(
        for actor: some RoutedID,
        in database: Database,
        looksFirst: Bool = false,
        _ prepare: () async throws -> OnceWrite
    ) async throws -> Response {
        guard let idempotency = try Idempotency(self) else {
            let write = try await prepare()
            try await database.write(on: actor, write.statements)
            return write.response
        }
        if looksFirst, let earlier = try await idempotency.earlierAnswer(of: actor, in: database) {
            return earlier
        }
        let (kept, prepared) = await both(
            { try await idempotency.earlierAnswer(of: actor, in: database) },
            prepare
        )
        if let earlier = try kept.get() { return earlier }
        let write = try prepared.get()
        do {
            let keep = idempotency.keep(write.response, of: actor)
            try await database.write(on: actor, [keep] + write.statements)
            return write.response
        } catch DatabaseError.query("TI001", _) {
            // Between the look and the write another request with this key committed.
            guard let earlier = try await idempotency.earlierAnswer(of: actor, in: database) else {
                throw ServiceError.unavailable("The first answer to this key is being forgotten.")
            }
            return earlier
        } catch DatabaseError.outcomeUnknown {
            // The kept answer tells: it is there if the write is.
            if let earlier = try await idempotency.earlierAnswer(of: actor, in: database) {
                return earlier
            }
            throw DatabaseError.outcomeUnknown
        } catch DatabaseError.query("TI002", _) {
            throw ServiceError(
                .conflict,
                "A request with this Idempotency-Key is under way.",
                headers: ["Retry-After": "1"]
            )
        }
    }
}

/// Looks the kept answer up while the new one is prepared, which writes nothing: a first request loses no
/// time by the look.
private func both(
    _ look: @escaping @Sendable () async throws -> Response?,
    _ prepare: () async throws -> OnceWrite
) async -> (kept: Result<Response?, any Error>, prepared: Result<OnceWrite, any Error>) {
    await withTaskGroup(of: Result<Response?, any Error>.self) { group in
        group.addTask { await outcome(look) }
        let prepared = await outcome(prepare)
        let kept = await group.next() ?? .success(nil)
        return (kept, prepared)
    }
}

private func outcome<T>(_ body: () async throws -> T) async -> Result<T, any Error> {
    do {
        return .success(try await body())
    } catch {
        return .failure(error)
    }
}

extension Input.Value {
    /// One text for one value, whatever the order in which its members were sent.
    fileprivate func describe(to text: inout String) {
        switch self {
        case .null: text += "n;"
        case .bool(let flag): text += "b\(flag);"
        case .integer(let integer): text += "i\(integer);"
        case .number(let number): text += "d\(number);"
        case .text(let string): text += "t\(string.utf8.count):\(string);"
        case .file(let file):
            text += "f\(file.filename.utf8.count):\(file.filename);"
            text += Base64URL.encode(Digest.sha256(file.bytes)) + ";"
        case .list(let elements):
            text += "l\(elements.count);"
            for element in elements { element.describe(to: &text) }
        case .object(let members):
            text += "o\(members.count);"
            for (name, value) in members.sorted(by: { $0.key < $1.key }) {
                text += "\(name.utf8.count):\(name)="
                value.describe(to: &text)
            }
        }
    }
}
