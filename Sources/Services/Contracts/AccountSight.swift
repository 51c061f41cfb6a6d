import Sharding

/// Accounts as one viewer may see them: the rules with what they have to know.
package struct AccountSight: Sendable {
    private let accounts: any AccountsClient
    private let graph: any GraphClient
    private let recent: (any RecentWithdrawals)?

    package init(
        accounts: any AccountsClient,
        graph: any GraphClient,
        recent: (any RecentWithdrawals)?
    ) {
        self.accounts = accounts
        self.graph = graph
        self.recent = recent
    }

    /// The rules for a viewer and these others.
    package func rules(
        of viewer: UserID?,
        about others: some Sequence<UserID>
    ) async throws -> VisibilityRules {
        let others = Set(others).filter { $0 != viewer }.sorted()
        guard let viewer, !others.isEmpty else {
            return VisibilityRules(viewer: viewer, recent: recent)
        }
        let standing = try await graph.standing(of: viewer, to: others)
        return VisibilityRules(viewer: viewer, standing: standing, recent: recent)
    }

    /// Those among these accounts that are there for the viewer, as the viewer may see them.
    package func accounts(
        _ ids: [UserID],
        viewer: UserID?
    ) async throws -> [UserID: AccountEntity] {
        guard !ids.isEmpty else { return [:] }
        let found = try await accounts.accounts(ids)
        let rules = try await rules(of: viewer, about: found.keys)
        return found.compactMapValues { $0.seen(by: rules) }
    }

    package func account(_ id: UserID, viewer: UserID?) async throws -> AccountEntity? {
        try await accounts([id], viewer: viewer)[id]
    }
}

extension AccountEntity {
    package var state: OwnerState {
        OwnerState(
            isPrivate: locked,
            isLimited: limited,
            isSuspended: suspended,
            hidesConnections: hideCollections == true
        )
    }

    /// The account as the rules show it: nil where it is not there, without its posts where these are hidden.
    package func seen(by rules: VisibilityRules) -> AccountEntity? {
        guard rules.allowAccount(id, state) else { return nil }
        return concealed(by: rules)
    }

    /// Beside a post that may be seen: a count and a date tell nothing of posts that may not.
    package func concealed(by rules: VisibilityRules) -> AccountEntity {
        guard !rules.allowPosts(of: id, state) else { return self }
        var account = self
        account.statusesCount = 0
        account.lastStatusAt = nil
        return account
    }
}
