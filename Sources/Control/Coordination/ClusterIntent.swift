package import JSON
package import Sharding

/// What the operators want of the cluster: one value in etcd, changed by compare-and-set.
///
/// It says what should be, never what is; the coordinator works towards it and takes out of it what is done.
package struct ClusterIntent: Sendable, Equatable {
    /// The version that this program writes; a newer one is refused.
    package static let version = 1

    /// No new move starts; those under way go on to their end.
    package var paused = false
    /// Shards that are to be empty.
    package var drains: Set<ShardID> = []
    /// Shards whose record is to go, once they are empty.
    package var removals: Set<ShardID> = []
    /// Buckets that stay where the operator says.
    package var pins: [BucketID: ShardID] = [:]
    /// Buckets that have a shard for themselves and are closed to new users.
    package var isolated: [BucketID: ShardID] = [:]
    package var aborts: Set<MoveID> = []
    package var rollbacks: Set<MoveID> = []
    /// The plan that may be carried out, by its ``Plan/fingerprint``; nothing moves without.
    package var approved: String?

    package init() {}
}

extension ClusterIntent: JSONEncodable {
    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("version", Self.version)
            json.field("paused", paused)
            json.field("drains", drains.sorted().map(\.name))
            json.field("removals", removals.sorted().map(\.name))
            write(pins, named: "pins", to: &json)
            write(isolated, named: "isolated", to: &json)
            json.field("aborts", aborts.sorted().map(\.description))
            json.field("rollbacks", rollbacks.sorted().map(\.description))
            if let approved { json.field("approved", approved) }
        }
    }

    private func write(
        _ places: [BucketID: ShardID],
        named name: StaticString,
        to json: inout JSONWriter
    ) {
        json.key(name)
        json.object { json in
            for (bucket, shard) in places.sorted(by: { $0.key < $1.key }) {
                json.key(bucket.description)
                json.string(shard.name)
            }
        }
    }

    package init(json: JSONValue) throws(CodecError) {
        guard let version = json["version"]?.int else { throw CodecError("no version") }
        guard version <= Self.version else {
            throw CodecError("an intent of version \(version): this program is too old for it")
        }
        self.init()
        paused = json["paused"]?.bool ?? false
        drains = Set(try Self.list(json["drains"]) { ShardID($0) })
        removals = Set(try Self.list(json["removals"]) { ShardID($0) })
        aborts = Set(try Self.list(json["aborts"]) { MoveID($0) })
        rollbacks = Set(try Self.list(json["rollbacks"]) { MoveID($0) })
        pins = try Self.places(json["pins"])
        isolated = try Self.places(json["isolated"])
        approved = json["approved"]?.string
    }

    private static func list<Element>(
        _ json: JSONValue?,
        _ read: (String) -> Element?
    ) throws(CodecError) -> [Element] {
        var elements: [Element] = []
        for value in json?.array ?? [] {
            guard let element = value.string.flatMap(read) else {
                throw CodecError("\(value.string ?? "a value") is not what this list holds")
            }
            elements.append(element)
        }
        return elements
    }

    private static func places(_ json: JSONValue?) throws(CodecError) -> [BucketID: ShardID] {
        var places: [BucketID: ShardID] = [:]
        for (name, value) in json?.object ?? [] {
            guard let bucket = Int(name).flatMap({ BucketID(rawValue: $0) }),
                let shard = value.string.flatMap({ ShardID($0) })
            else { throw CodecError("\(name) is no bucket with a shard") }
            places[bucket] = shard
        }
        return places
    }
}
