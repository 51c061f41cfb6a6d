package import JSON
internal import Sharding

extension Plan: JSONEncodable {
    /// The version that this program writes; any other is refused.
    package static let version = 1

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("version", Self.version)
            json.field("fingerprint", fingerprint)
            json.field("bytes", bytes)
            json.field("buckets", bucketCount)
            json.field("imbalanceBefore", imbalanceBefore)
            json.field("imbalanceAfter", imbalanceAfter)
            json.field("steps", steps)
        }
    }

    package init(json: JSONValue) throws(CodecError) {
        guard json["version"]?.int == Self.version, let steps = json["steps"]?.array,
            let before = json["imbalanceBefore"]?.double, let after = json["imbalanceAfter"]?.double
        else { throw CodecError("not a plan of version \(Self.version)") }
        self.init(
            steps: try steps.map(Step.init(json:)),
            imbalanceBefore: before,
            imbalanceAfter: after
        )
        guard json["fingerprint"]?.string == fingerprint else {
            throw CodecError("the plan is not the one that its fingerprint is of")
        }
    }

    /// Names the plan by what it does: two plans with the same steps have the same.
    package var fingerprint: String {
        var json = JSONWriter()
        json.array(steps)
        let hash = String(SipHash.checksum.hash(json.bytes), radix: 16)
        return String(repeating: "0", count: 16 - hash.count) + hash
    }
}

extension Plan.Step: JSONEncodable {
    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("source", source.name)
            json.field("target", target.name)
            json.field("buckets", buckets.map(\.rawValue))
            json.field("bytes", bytes)
            json.field("reason", reason.rawValue)
        }
    }

    init(json: JSONValue) throws(CodecError) {
        guard let source = json["source"]?.string.flatMap({ ShardID($0) }),
            let target = json["target"]?.string.flatMap({ ShardID($0) }), source != target,
            let numbers = json["buckets"]?.array, let bytes = json["bytes"]?.int64,
            let reason = json["reason"]?.string.flatMap({ Plan.Reason(rawValue: $0) })
        else { throw CodecError("a step without source, target, buckets, bytes or reason") }
        let buckets = numbers.compactMap { $0.int.flatMap { BucketID(rawValue: $0) } }
        guard buckets.count == numbers.count, (1...MoveSpec.bucketLimit).contains(buckets.count)
        else { throw CodecError("a step from \(source) to \(target) with wrong buckets") }
        self.init(source: source, target: target, buckets: buckets, bytes: bytes, reason: reason)
    }
}
