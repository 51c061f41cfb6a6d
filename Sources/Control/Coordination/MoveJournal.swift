package import JSON
internal import Sharding

// The journal's form of a move: one JSON object, the value of /tessera/coordinator/moves/<id>.

/// Why a text is not what it should be.
package struct CodecError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

extension BucketMove: JSONEncodable {
    /// The version that this program writes. It reads this one and older ones; a newer one is refused, so that an older
    /// coordinator never works on a move whose steps it does not know.
    package static let journalVersion = 1

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("version", Self.journalVersion)
            json.field("id", spec.id.description)
            if case .rollback(let of) = spec.kind { json.field("rollbackOf", of.description) }
            json.field("source", spec.source.name)
            json.field("target", spec.target.name)
            json.field("buckets", spec.buckets.map(\.rawValue))
            json.field("step", step.rawValue)
            json.field("attempt", attempt)
            json.field("epochs", epochs.map(\.rawValue))
            json.field("copies", copies)
            json.field("rows", rows)
            json.field("bytes", bytes)
            json.field("hasReverse", hasReverse)
            json.field("retainedSeconds", retained.components.seconds)
            if let pauseMilliseconds { json.field("pauseMilliseconds", pauseMilliseconds) }
            if let digest { json.field("digest", digest) }
            if let undoing { json.field("undoing", undoing) }
            if let handedTo { json.field("handedTo", handedTo.description) }
            if let trouble { json.field("trouble", trouble) }
        }
    }

    /// Reads what ``write(to:)`` wrote; the move then waits for ``MoveEvent/begin``.
    package init(
        journal json: JSONValue,
        policy: MovePolicy = MovePolicy()
    ) throws(CodecError) {
        guard let version = json["version"]?.int else { throw CodecError("a move without version") }
        guard version <= Self.journalVersion else {
            throw CodecError("a move of version \(version): this coordinator is too old for it")
        }
        self.init(spec: try Self.spec(in: json), policy: policy)
        guard let step = json["step"]?.string.flatMap({ MoveStep(rawValue: $0) }),
            let attempt = json["attempt"]?.int, attempt >= 0,
            let epochs = json["epochs"]?.array?.compactMap(\.int64),
            epochs.isEmpty || epochs.count == spec.buckets.count
        else { throw CodecError("move \(spec.id): step, attempt or epochs are missing or wrong") }
        self.step = step
        self.attempt = attempt
        self.epochs = epochs.map { Epoch(rawValue: $0) }
        copies = json["copies"]?.int ?? 0
        rows = json["rows"]?.int64 ?? 0
        bytes = json["bytes"]?.int64 ?? 0
        hasReverse = json["hasReverse"]?.bool ?? false
        retained = .seconds(json["retainedSeconds"]?.int64 ?? 0)
        pauseMilliseconds = json["pauseMilliseconds"]?.double
        digest = json["digest"]?.string
        undoing = json["undoing"]?.string
        handedTo = json["handedTo"]?.string.flatMap { MoveID($0) }
        trouble = json["trouble"]?.string
    }

    private static func spec(in json: JSONValue) throws(CodecError) -> MoveSpec {
        guard let id = json["id"]?.string.flatMap({ MoveID($0) }),
            let source = json["source"]?.string.flatMap({ ShardID($0) }),
            let target = json["target"]?.string.flatMap({ ShardID($0) }),
            let numbers = json["buckets"]?.array
        else { throw CodecError("a move without id, source, target or buckets") }
        let buckets = numbers.compactMap { $0.int.flatMap { BucketID(rawValue: $0) } }
        let rolled = json["rollbackOf"]?.string
        let original = rolled.flatMap { MoveID($0) }
        guard buckets.count == numbers.count, (rolled == nil) == (original == nil),
            let spec = MoveSpec(
                id: id,
                kind: original.map { .rollback(of: $0) } ?? .copy,
                source: source,
                target: target,
                buckets: buckets
            )
        else { throw CodecError("move \(id): buckets or shards are wrong") }
        return spec
    }
}
