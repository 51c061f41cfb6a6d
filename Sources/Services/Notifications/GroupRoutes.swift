import Contracts
import HTTP
import ServiceKit
import Sharding

extension NotificationsService {
    /// Accounts of one group that are listed.
    private static let memberLimit = 80

    var groupEndpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v2/notifications",
                operationID: "getNotificationGroups",
                summary: "What you should know, with those of one kind about one thing as one.",
                tag: "notifications",
                access: .user(["read:notifications"]),
                inputs: Parameter.paging + [
                    Parameter("types", .strings, "Only these kinds."),
                    Parameter("exclude_types", .strings, "Without these kinds."),
                    Parameter("account_id", .string, "Only those that this account caused."),
                    Parameter("grouped_types", .strings, "The kinds that are shown as one."),
                    Parameter(
                        "expand_accounts",
                        .oneOf(["full", "partial_avatars"]),
                        "Accounts are always given in full."
                    ),
                ],
                output: .entity("NotificationGroups")
            ) { try await listGroups($0) },
            Endpoint(
                .get,
                "/api/v2/notifications/unread_count",
                operationID: "getUnreadGroupCount",
                summary: "How many notifications came after the mark of what you have read.",
                tag: "notifications",
                access: .user(["read:notifications"]),
                inputs: [
                    Parameter("limit", .integer, "How far is counted."),
                    Parameter("types", .strings, "Only these kinds."),
                    Parameter("exclude_types", .strings, "Without these kinds."),
                ],
                output: .entity("UnreadCount")
            ) { try await unread($0) },
            Endpoint(
                .get,
                "/api/v2/notifications/:group_key",
                operationID: "getNotificationGroup",
                summary: "One group.",
                tag: "notifications",
                access: .user(["read:notifications"]),
                output: .entity("NotificationGroups")
            ) { call in
                let user = try call.user()
                let rows = try await members(call, limit: NotificationStore.kept)
                guard let first = rows.first, let last = rows.last, let kind = first.kind else {
                    throw ServiceError.notFound
                }
                let group = NotificationGroupEntity(
                    key: kind.groupKey(subject: first.subject, id: first.id),
                    kind: kind,
                    count: rows.count,
                    newest: first.id,
                    oldest: last.id,
                    newestAt: first.createdAt,
                    sampleAccounts: rows.prefix(NotificationStore.sampleLimit).map(\.actor),
                    status: first.post
                )
                let shown = try await complete([group], for: user)
                guard !shown.groups.isEmpty else { throw ServiceError.notFound }
                return .json(shown)
            },
            Endpoint(
                .get,
                "/api/v2/notifications/:group_key/accounts",
                operationID: "getNotificationGroupAccounts",
                summary: "Who is behind a group, the latest first.",
                tag: "notifications",
                access: .user(["read:notifications"]),
                output: .list("Account")
            ) { call in
                let rows = try await members(call, limit: Self.memberLimit)
                let people = try await people(Set(rows.map(\.actor)), for: try call.user())
                return .json(rows.compactMap { people[$0.actor] })
            },
            Endpoint(
                .post,
                "/api/v2/notifications/:group_key/dismiss",
                operationID: "dismissNotificationGroup",
                summary: "Takes all of a group off the list.",
                tag: "notifications",
                access: .user(["write:notifications"]),
                output: .emptyObject
            ) { call in
                guard try await store.dismiss(Self.group(call), of: call.user()) else {
                    throw ServiceError.notFound
                }
                return .emptyObject
            },
        ]
    }

    private static func group(_ call: Call) throws(ServiceError) -> NotificationGroup {
        guard let key = call.request.parameters["group_key"],
            let group = NotificationGroup(key: key)
        else { throw .notFound }
        return group
    }

    private func members(_ call: Call, limit: Int) async throws -> [NotificationRow] {
        try await store.members(of: Self.group(call), of: call.user(), limit: limit)
    }

    private func listGroups(_ call: Call) async throws -> Response {
        let user = try call.user()
        let page = try PageRequest(call.input, defaultLimit: 40, mostLimit: 80)
        let asked = call.input.strings("grouped_types")
        let rows = try await store.groups(
            of: user,
            kinds: try Self.kinds(call.input),
            grouped: NotificationKind.grouped.filter {
                asked.isEmpty || asked.contains($0.rawValue)
            },
            actor: try Self.actor(call.input),
            page
        ).sorted { $0.newest > $1.newest }
        let groups = rows.compactMap { row -> NotificationGroupEntity? in
            guard let kind = row.kind else { return nil }
            let isGrouped = asked.isEmpty || asked.contains(kind.rawValue)
            return NotificationGroupEntity(
                key: isGrouped
                    ? kind.groupKey(subject: row.subject, id: row.newest)
                    : "ungrouped-\(row.newest)",
                kind: kind,
                count: row.count,
                newest: row.newest,
                oldest: row.oldest,
                newestAt: row.newestAt,
                sampleAccounts: row.actors,
                status: row.post
            )
        }
        var response = Response.json(try await complete(groups, for: user))
        response.link(
            call,
            first: rows.first?.newest.rawValue,
            last: rows.last?.newest.rawValue,
            isFull: rows.count == page.limit
        )
        return response
    }

    /// The groups that may be shown, with what they name. A group keeps those of its accounts that may be named.
    private func complete(
        _ groups: [NotificationGroupEntity],
        for user: UserID
    ) async throws -> NotificationGroupsEntity {
        let people = try await people(Set(groups.flatMap(\.sampleAccounts)), for: user)
        let statuses = try await statuses(Set(groups.compactMap(\.status)), for: user)
        let shown = groups.compactMap { group -> NotificationGroupEntity? in
            var group = group
            let before = group.sampleAccounts.count
            group.sampleAccounts.removeAll { people[$0] == nil }
            group.count -= before - group.sampleAccounts.count
            guard !group.sampleAccounts.isEmpty else { return nil }
            if group.kind.isAboutPost {
                guard let status = group.status, statuses[status] != nil else { return nil }
            }
            return group
        }
        return NotificationGroupsEntity(
            accounts: Set(shown.flatMap(\.sampleAccounts)).sorted().compactMap { people[$0] },
            statuses: Set(shown.compactMap(\.status)).sorted().compactMap { statuses[$0] },
            groups: shown
        )
    }
}
