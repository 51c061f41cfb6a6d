package import Contracts
package import JSON
internal import Sharding

/// The state of one follow, as its row holds it: the truth, or its mirror.
///
/// The rules are values, so that the simulator runs the same ones which ``GraphStore`` writes as SQL.
package struct Edge: Sendable, Equatable {
    package var version: Int64
    package var active: Bool
    /// The version of the target's block row that the follower saw when following.
    package var blockSeen: Int64

    package init(version: Int64 = 0, active: Bool = false, blockSeen: Int64 = 0) {
        self.version = version
        self.active = active
        self.blockSeen = blockSeen
    }

    /// Follows, having seen the target's block row at that version. Returns whether the edge changed.
    package mutating func follow(blockSeen seen: Int64) -> Bool {
        blockSeen = max(blockSeen, seen)
        guard !active else { return false }
        version += 1
        active = true
        return true
    }

    package mutating func unfollow() -> Bool {
        guard active else { return false }
        version += 1
        active = false
        return true
    }

    /// A block has reached the follower. It ends the follow unless the follower saw it, or saw it lifted,
    /// before following: so neither a late nor a repeated block can undo a later follow.
    package mutating func end(byBlock version: Int64) -> Bool {
        guard blockSeen < version else { return false }
        return unfollow()
    }

    /// Takes over a state of the row that this one mirrors, if it is news.
    package mutating func mirror(version: Int64, active: Bool) -> Bool {
        guard version > self.version else { return false }
        self.version = version
        self.active = active
        return true
    }
}

/// A block row counts blocks and unblocks in turn: odd while the block stands.
package enum BlockVersion {
    package static func stands(_ version: Int64) -> Bool { version % 2 == 1 }

    /// The newest block that a row of this version tells of: itself, or the one that it lifted.
    package static func newestBlock(toldBy version: Int64) -> Int64 {
        stands(version) ? version : version - 1
    }

    /// Whether a follower who saw the block row at version `seen` may follow, although the follower's own
    /// shard has been told of version `known` meanwhile.
    package static func allowsFollow(seen: Int64, known: Int64) -> Bool {
        newestBlock(toldBy: known) <= seen
    }
}

/// Payload of `graph.edge`: a state of one following row.
package struct EdgeEffect: Sendable, Equatable, JSONEncodable {
    package var user: UserID
    package var target: UserID
    package var id: Int64
    package var version: Int64
    package var active: Bool

    package init(user: UserID, target: UserID, id: Int64, version: Int64, active: Bool) {
        self.user = user
        self.target = target
        self.id = id
        self.version = version
        self.active = active
    }

    package init?(_ json: JSONValue) {
        guard let user = json["user"]?.string.flatMap({ UserID($0) }),
            let target = json["target"]?.string.flatMap({ UserID($0) }),
            let id = json["id"]?.string.flatMap({ Int64($0) }),
            let version = json["version"]?.int64, let active = json["active"]?.bool
        else { return nil }
        self.init(user: user, target: target, id: id, version: version, active: active)
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("user", user.description)
            json.field("target", target.description)
            json.field("id", id.description)
            json.field("version", version)
            json.field("active", active)
        }
    }
}

/// Payload of `graph.block`: a state of one block row.
package struct BlockEffect: Sendable, Equatable, JSONEncodable {
    package var blocker: UserID
    package var blocked: UserID
    package var version: Int64

    package init(blocker: UserID, blocked: UserID, version: Int64) {
        self.blocker = blocker
        self.blocked = blocked
        self.version = version
    }

    package init?(_ json: JSONValue) {
        guard let blocker = json["blocker"]?.string.flatMap({ UserID($0) }),
            let blocked = json["blocked"]?.string.flatMap({ UserID($0) }),
            let version = json["version"]?.int64
        else { return nil }
        self.init(blocker: blocker, blocked: blocked, version: version)
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("blocker", blocker.description)
            json.field("blocked", blocked.description)
            json.field("version", version)
        }
    }
}
