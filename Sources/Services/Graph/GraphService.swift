package import Contracts
package import Database
package import Jobs
package import Pages
package import ServiceKit

/// Who follows, blocks and mutes whom. Read this first.
///
/// A follow is a row in the follower's bucket; an effect mirrors it into the followed's bucket, where
/// fan-out and the list of followers read it. ``Edge`` has the rules by which rows and messages converge.
package struct GraphService: Service, GraphClient {
    package static let schema = SchemaRequirement(module: "Graph", number: 3)

    let store: GraphStore
    let accounts: any AccountsClient
    let drop: PageDrop?

    /// `drop` takes the rendered pages of both whom a block parts.
    package init(database: Database, accounts: any AccountsClient, drop: PageDrop?) {
        store = GraphStore(database: database)
        self.accounts = accounts
        self.drop = drop
    }

    package var endpoints: [Endpoint] {
        writeEndpoints + listEndpoints
    }

    package static func effects(database: Database, drop: PageDrop?) -> [any EffectHandler] {
        let store = GraphStore(database: database)
        return [
            EdgeHandler(store: store), BlockHandler(store: store, drop: drop),
            Departure(store: store),
        ]
    }

    // MARK: GraphClient

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
        to authors: [UserID]
    ) async throws -> ViewerStanding {
        guard !authors.isEmpty else { return ViewerStanding() }
        return try await store.standing(of: viewer, to: authors)
    }

    // MARK: Use cases

    /// Follows a user, unless one of the two blocks the other.
    ///
    /// The target's own block row is asked, not its mirror: what the follower saw decides whether a block
    /// that is still on its way ends this follow.
    func follow(
        _ target: UserID,
        by viewer: UserID,
        traceparent: String?
    ) async throws -> RelationshipEntity {
        guard target != viewer else { throw ServiceError.notFound }
        try await requireAccount(target)
        let seen = try await store.blockVersion(of: viewer, by: target)
        guard !BlockVersion.stands(seen) else { throw Self.notAllowed }
        let relationship = try await store.follow(
            target,
            by: viewer,
            blockSeen: seen,
            traceparent: traceparent
        )
        guard relationship.following else { throw Self.notAllowed }
        return relationship
    }

    func requireAccount(_ id: UserID) async throws {
        guard try await accounts.account(id) != nil else { throw ServiceError.notFound }
    }

    private static let notAllowed = ServiceError(.forbidden, "This action is not allowed")
}
