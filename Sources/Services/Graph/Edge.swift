package import Contracts
package import JSON
internal import Sharding

/// The state of one follow, as its row holds it: the truth, or its mirror.
///
/// The rules are values, so that the simulator runs the same ones which ``GraphStore`` writes as SQL.
package struct Edge: Sendable, Equatable {
    package var version: Int64
    package var active: Bool
    /// Asked for, and not answered yet; never together with active.
    package var requested: Bool
    /// Which follow of the pair it is, made anew by each one; what the followed decides names it.
    package var id: Int64
    /// The version of the target's block row that the follower saw when following.
    package var blockSeen: Int64
    /// On the mirror: the follow that the followed has refused or ended last.
    package var refused: Int64 = 0

    package init(
        version: Int64 = 0,
        active: Bool = false,
        requested: Bool = false,
        id: Int64 = 0,
        blockSeen: Int64 = 0
    ) {
        self.version = version
        self.active = active
        self.requested = requested
        self.id = id
        self.blockSeen = blockSeen
    }

    /// Follows, or asks to, on these terms; `id` names the follow if it is a new one. Returns whether the edge changed.
    package mutating func follow(on terms: FollowTerms, id: Int64) -> Bool {
        blockSeen = max(blockSeen, terms.blockSeen)
        guard !active, !requested || !terms.asks else { return false }
        version += 1
        active = !terms.asks
        requested = terms.asks
        self.id = id
        return true
    }

    /// Unfollows, or takes a request back.
    package mutating func unfollow() -> Bool {
        guard active || requested else { return false }
        version += 1
        active = false
        requested = false
        return true
    }

    /// A block has reached the follower. It ends the follow unless the follower saw it, or saw it lifted,
    /// before following: so neither a late nor a repeated block can undo a later follow.
    package mutating func end(byBlock version: Int64) -> Bool {
        guard blockSeen < version else { return false }
        return unfollow()
    }

    /// What the followed has decided about one follow has reached the follower. A refusal ends that follow in
    /// whichever state it is, and an acceptance only answers: so the refusal wins, whichever of them comes first.
    package mutating func take(_ decision: FollowDecision) -> Bool {
        guard id == decision.id else { return false }
        guard decision.accepts else { return unfollow() }
        guard requested else { return false }
        version += 1
        active = true
        requested = false
        return true
    }

    // MARK: The mirror

    /// Takes over a state of the row that this one mirrors, if it is news.
    package mutating func mirror(_ other: Edge) -> Bool {
        guard other.version > version else { return false }
        version = other.version
        id = other.id
        active = other.active && other.id != refused
        requested = other.requested && other.id != refused
        return true
    }

    /// The followed decides about the follow that this row tells of; nil where there is nothing to decide.
    package mutating func decide(accepts: Bool) -> FollowDecision? {
        guard requested || active && !accepts else { return nil }
        active = accepts
        requested = false
        if !accepts { refused = id }
        return FollowDecision(id: id, accepts: accepts)
    }
}

/// What the followed's own rows say to somebody who wants to follow.
package struct FollowTerms: Sendable, Equatable {
    /// The version of the followed's block row; see ``BlockVersion``.
    package var blockSeen: Int64
    /// Whether the followed lets followers in one by one.
    package var asks: Bool

    package init(blockSeen: Int64 = 0, asks: Bool = false) {
        self.blockSeen = blockSeen
        self.asks = asks
    }
}

/// What the followed has decided about one follow.
package struct FollowDecision: Sendable, Equatable {
    package var id: Int64
    package var accepts: Bool

    package init(id: Int64, accepts: Bool) {
        self.id = id
        self.accepts = accepts
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

/// Payload of `graph.edge`: a state of one following row. Version 2 may be a request.
package struct EdgeEffect: Sendable, Equatable, JSONEncodable {
    package var user: UserID
    package var target: UserID
    package var id: Int64
    package var version: Int64
    package var active: Bool
    package var requested: Bool
    /// Whether the follower wants to be told of each post.
    package var notify: Bool

    package init(
        user: UserID,
        target: UserID,
        id: Int64,
        version: Int64,
        active: Bool,
        requested: Bool = false,
        notify: Bool = false
    ) {
        self.user = user
        self.target = target
        self.id = id
        self.version = version
        self.active = active
        self.requested = requested
        self.notify = notify
    }

    package init?(_ json: JSONValue) {
        guard let user = json["user"]?.string.flatMap({ UserID($0) }),
            let target = json["target"]?.string.flatMap({ UserID($0) }),
            let id = json["id"]?.string.flatMap({ Int64($0) }),
            let version = json["version"]?.int64, let active = json["active"]?.bool
        else { return nil }
        self.init(
            user: user,
            target: target,
            id: id,
            version: version,
            active: active,
            requested: json["requested"]?.bool ?? false,
            notify: json["notify"]?.bool ?? false
        )
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("user", user.description)
            json.field("target", target.description)
            json.field("id", id.description)
            json.field("version", version)
            json.field("active", active)
            json.field("requested", requested)
            json.field("notify", notify)
        }
    }
}

/// Payload of `graph.answer`: what the followed has decided about one follow.
package struct AnswerEffect: Sendable, Equatable, JSONEncodable {
    package var user: UserID
    package var target: UserID
    package var decision: FollowDecision

    package init(user: UserID, target: UserID, decision: FollowDecision) {
        self.user = user
        self.target = target
        self.decision = decision
    }

    package init?(_ json: JSONValue) {
        guard let user = json["user"]?.string.flatMap({ UserID($0) }),
            let target = json["target"]?.string.flatMap({ UserID($0) }),
            let id = json["id"]?.string.flatMap({ Int64($0) }),
            let accepts = json["accepts"]?.bool
        else { return nil }
        self.init(
            user: user,
            target: target,
            decision: FollowDecision(id: id, accepts: accepts)
        )
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("user", user.description)
            json.field("target", target.description)
            json.field("id", decision.id.description)
            json.field("accepts", decision.accepts)
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
