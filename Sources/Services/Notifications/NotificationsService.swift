import Contracts
import Database
import Events
import Jobs
import ServiceKit

/// What users are told of: follows, likes, answers and so on. Read this first.
///
/// Whoever writes a cause enqueues `notifications.notify` on the recipient's bucket; ``NotifyHandler`` makes a row
/// of it there, once for each cause, and an event in the recipient's stream. Whether the recipient wants to hear of
/// the actor, and may see the post, is asked when the row is written and again when it is read.
package struct NotificationsService: Service, NotificationsClient {
    package static let schema = SchemaRequirement(module: "Notifications", number: 1)

    let store: NotificationStore
    private let accounts: any AccountsClient
    private let sight: AccountSight
    private let posts: any PostsClient

    package init(
        database: Database,
        accounts: any AccountsClient,
        graph: any GraphClient,
        posts: any PostsClient,
        recent: (any RecentWithdrawals)?
    ) {
        store = NotificationStore(database: database)
        self.accounts = accounts
        sight = AccountSight(accounts: accounts, graph: graph, recent: recent)
        self.posts = posts
    }

    package var endpoints: [Endpoint] {
        notificationEndpoints + groupEndpoints + markerEndpoints + settingEndpoints
    }

    /// `bell` tells the nodes at which recipients listen.
    package static func effects(
        database: Database,
        graph: any GraphClient,
        bell: EventBell?
    ) -> [any EffectHandler] {
        [
            NotifyHandler(
                store: NotificationStore(database: database),
                graph: graph,
                bell: bell
            )
        ]
    }

    // MARK: NotificationsClient

    package func notifications(
        _ ids: [NotificationID],
        of user: UserID
    ) async throws -> [NotificationID: NotificationEntity] {
        guard !ids.isEmpty else { return [:] }
        let shown = try await show(try await store.rows(ids, of: user), to: user)
        return Dictionary(shown.map { ($0.id, $0) }) { $1 }
    }

    // MARK: Showing

    /// What a user is shown of these rows, in their order: without those whose post or actor is gone, or hidden.
    func show(
        _ rows: [NotificationRow],
        to user: UserID
    ) async throws -> [NotificationEntity] {
        let people = try await people(Set(rows.map(\.actor)), for: user)
        let statuses = try await statuses(Set(rows.compactMap(\.post)), for: user)
        return rows.compactMap { row in
            guard let kind = row.kind, let account = people[row.actor] else { return nil }
            let status = row.post.flatMap { statuses[$0] }
            guard status != nil || !kind.isAboutPost else { return nil }
            return NotificationEntity(
                id: row.id,
                kind: kind,
                createdAt: row.createdAt,
                account: account,
                status: status,
                groupKey: kind.groupKey(subject: row.subject, id: row.id)
            )
        }
    }

    /// The accounts among these of whom the user wants to hear, and is allowed to.
    func people(
        _ ids: Set<UserID>,
        for user: UserID
    ) async throws -> [UserID: AccountEntity] {
        guard !ids.isEmpty else { return [:] }
        let found = try await accounts.accounts(ids.sorted())
        let rules = try await sight.rules(of: user, about: found.keys)
        return found.compactMapValues { account in
            rules.allowNotification(from: account.id, account.state) ? account.seen(by: rules) : nil
        }
    }

    func statuses(
        _ ids: Set<PostID>,
        for user: UserID
    ) async throws -> [PostID: StatusEntity] {
        guard !ids.isEmpty else { return [:] }
        return try await posts.statuses(ids.sorted(), viewer: user)
    }
}
