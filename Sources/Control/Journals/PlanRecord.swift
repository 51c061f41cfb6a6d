package import Coordination
import Crypto
package import JSON
internal import Sharding

/// A plan as it was agreed to: its moves with their names, in the order in which they start.
package struct PlanRecord: Sendable, Equatable {
    package struct Move: Sendable, Equatable {
        package let spec: MoveSpec
        package let bytes: Int64
        package let reason: Plan.Reason

        package init(spec: MoveSpec, bytes: Int64, reason: Plan.Reason) {
            self.spec = spec
            self.bytes = bytes
            self.reason = reason
        }

        package var step: Plan.Step {
            Plan.Step(
                source: spec.source,
                target: spec.target,
                buckets: spec.buckets,
                bytes: bytes,
                reason: reason
            )
        }
    }

    package let moves: [Move]

    /// Unix seconds at which it was made; for people.
    package let createdAt: Int64

    package init(moves: [Move], createdAt: Int64) {
        self.moves = moves
        self.createdAt = createdAt
    }

    /// Gives the plan's steps names from `first` on.
    package init(_ plan: Plan, from first: Int64, createdAt: Int64) {
        let moves = plan.steps.enumerated().compactMap { place, step -> Move? in
            guard let id = MoveID(number: first + Int64(place)),
                let spec = MoveSpec(
                    id: id,
                    source: step.source,
                    target: step.target,
                    buckets: step.buckets
                )
            else { return nil }
            return Move(spec: spec, bytes: step.bytes, reason: step.reason)
        }
        precondition(moves.count == plan.steps.count, "a plan's steps can be moves")
        self.init(moves: moves, createdAt: createdAt)
    }

    /// Names this plan and its moves, so that the same steps agreed to once more are another plan: what
    /// ``ClusterIntent/approved`` holds.
    package var fingerprint: String {
        var json = JSONWriter()
        json.array { json in
            for move in moves { json.object { Self.write(move, to: &$0) } }
        }
        return Digest.sha256(json.bytes).prefix(8).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}

extension PlanRecord: JSONEncodable {
    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("version", JournalFormat.known)
            json.field("createdAt", createdAt)
            json.key("moves")
            json.array { json in
                for move in moves { json.object { Self.write(move, to: &$0) } }
            }
        }
    }

    package static func write(_ move: Move, to json: inout JSONWriter) {
        json.field("id", move.spec.id.description)
        json.field("source", move.spec.source.name)
        json.field("target", move.spec.target.name)
        json.field("buckets", move.spec.buckets.map(\.rawValue))
        json.field("bytes", move.bytes)
        json.field("reason", move.reason.rawValue)
    }

    package init(json: JSONValue) throws(CodecError) {
        guard let version = json["version"]?.int, let createdAt = json["createdAt"]?.int64,
            let moves = json["moves"]?.array
        else { throw CodecError("not a plan") }
        guard version <= JournalFormat.known else {
            throw CodecError("a plan of version \(version): this program is too old for it")
        }
        var read: [Move] = []
        for move in moves { read.append(try Self.move(move)) }
        self.init(moves: read, createdAt: createdAt)
    }

    private static func move(_ json: JSONValue) throws(CodecError) -> Move {
        let buckets = json["buckets"]?.array?.compactMap {
            $0.int.flatMap { BucketID(rawValue: $0) }
        }
        guard let id = json["id"]?.string.flatMap({ MoveID($0) }),
            let source = json["source"]?.string.flatMap({ ShardID($0) }),
            let target = json["target"]?.string.flatMap({ ShardID($0) }),
            let bytes = json["bytes"]?.int64,
            let reason = json["reason"]?.string.flatMap({ Plan.Reason(rawValue: $0) }),
            let spec = MoveSpec(id: id, source: source, target: target, buckets: buckets ?? [])
        else { throw CodecError("a plan with a move that cannot be") }
        return Move(spec: spec, bytes: bytes, reason: reason)
    }

    /// One move of a plan that somebody else keeps, before it has a name here.
    package static func step(_ json: JSONValue) throws(CodecError) -> Plan.Step {
        try move(json).step
    }
}
