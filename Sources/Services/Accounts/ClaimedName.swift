package import Contracts
package import Sharding

/// A name that at most one user has, on the shard that its hash leads to.
package struct ClaimedName: Sendable, Hashable, Routed {
    package enum Kind: Int16, Sendable {
        case username = 1
        case email = 2
    }

    package let kind: Kind
    /// Folded: equal names are equal texts.
    package let text: String

    package init(_ username: Username) {
        kind = .username
        text = username.folded
    }

    package init(_ address: EmailAddress) {
        kind = .email
        text = address.folded
    }

    package init(kind: Kind, text: String) {
        self.kind = kind
        self.text = text
    }

    package var bucket: BucketID { .of(name: text) }
}

/// Whose a claim is.
package struct ClaimHolder: Sendable, Hashable {
    package let user: UserID
    package let decision: DecisionID

    package init(user: UserID, decision: DecisionID) {
        self.user = user
        self.decision = decision
    }
}

/// Under this id a user's shard says whether an attempt to take names counts; its bucket is the user's.
///
/// A sign-up decides under the new user's own id, a rename under a fresh one.
package struct DecisionID: RoutedID {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }
}
