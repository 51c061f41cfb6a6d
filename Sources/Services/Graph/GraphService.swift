package import Contracts
package import Database
package import Jobs
package import Pages
package import ServiceKit

/// Who follows, blocks and mutes whom. Read this first.
///
/// A follow is a row in the follower's bucket; an effect mirrors it into the followed's bucket, where
/// fan-out and the list of followers read it. A private account is asked first: the mirror is then a request, and
/// the answer goes back by an effect. ``Edge`` has the rules by which rows and messages converge.
package struct GraphService: Service {
    package static let schema = SchemaRequirement(module: "Graph", number: 4)

    let store: GraphStore
    let accounts: any AccountsClient
    let sight: AccountSight
    let drop: PageDrop?

    /// `drop` takes the rendered pages of both whom a block parts.
    package init(
        database: Database,
        accounts: any AccountsClient,
        recent: (any RecentWithdrawals)?,
        drop: PageDrop?
    ) {
        store = GraphStore(database: database)
        self.accounts = accounts
        sight = AccountSight(
            accounts: accounts,
            graph: GraphDirectory(database: database),
            recent: recent
        )
        self.drop = drop
    }

    package var endpoints: [Endpoint] {
        writeEndpoints + requestEndpoints + listEndpoints
    }

    package static func effects(database: Database, drop: PageDrop?) -> [any EffectHandler] {
        let store = GraphStore(database: database)
        return [
            EdgeHandler(store: store), AnswerHandler(store: store, drop: drop),
            BlockHandler(store: store, drop: drop), Departure(store: store),
        ]
    }

    // MARK: Use cases

    /// Follows a user, or asks to, unless one of the two blocks the other.
    ///
    /// The target's own rows are asked, not their mirror: what the follower saw decides whether a block
    /// that is still on its way ends this follow, and whether the target has to allow it.
    func follow(
        _ target: UserID,
        by viewer: UserID,
        wanting wishes: FollowWishes,
        traceparent: String?
    ) async throws -> RelationshipEntity {
        guard target != viewer, try await sight.account(target, viewer: viewer) != nil else {
            throw ServiceError.notFound
        }
        let terms = try await store.terms(of: viewer, for: target)
        // Whoever is blocked learns no more than of an account that does not exist.
        guard !BlockVersion.stands(terms.blockSeen) else { throw ServiceError.notFound }
        let relationship = try await store.follow(
            target,
            by: viewer,
            on: terms,
            wanting: wishes,
            traceparent: traceparent
        )
        guard relationship.following || relationship.requested else { throw Self.notAllowed }
        return relationship
    }

    func requireAccount(_ id: UserID) async throws {
        guard let account = try await accounts.account(id), !account.suspended else {
            throw ServiceError.notFound
        }
    }

    private static let notAllowed = ServiceError(.forbidden, "This action is not allowed")
}

/// What other services ask of Graph; needs no other service, so that all others can be made with it.
package struct GraphDirectory: GraphClient {
    private let store: GraphStore

    package init(database: Database) {
        store = GraphStore(database: database)
    }

    package func relationships(
        of viewer: UserID,
        to ids: [UserID]
    ) async throws -> [RelationshipEntity] {
        try await store.relationships(of: viewer, to: ids)
    }

    package func followed(by user: UserID, among targets: [UserID]) async throws -> Set<UserID> {
        guard !targets.isEmpty else { return [] }
        return Set(try await store.followed(by: user, among: targets))
    }

    package func standing(
        of viewer: UserID,
        to others: [UserID]
    ) async throws -> ViewerStanding {
        guard !others.isEmpty else { return ViewerStanding() }
        return try await store.standing(of: viewer, to: others)
    }

    package func closeFriendships(
        of viewer: UserID,
        among authors: [UserID]
    ) async throws -> Set<UserID> {
        guard !authors.isEmpty else { return [] }
        return try await store.closeFriendships(of: viewer, among: authors)
    }

    package func restricts(_ user: UserID, _ other: UserID) async throws -> Bool {
        try await store.restricts(user, other)
    }
}
