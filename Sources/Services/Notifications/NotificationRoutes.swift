import Contracts
import HTTP
import JSON
import ServiceKit
import Sharding

extension NotificationsService {
    private static let choice = [
        Parameter("types", .strings, "Only these kinds."),
        Parameter("exclude_types", .strings, "Without these kinds."),
        Parameter("account_id", .string, "Only those that this account caused."),
    ]

    var notificationEndpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v1/notifications",
                operationID: "getNotifications",
                summary: "What you should know, newest first.",
                tag: "notifications",
                access: .user(["read:notifications"]),
                inputs: Parameter.paging + Self.choice,
                output: .list("Notification")
            ) { try await list($0) },
            Endpoint(
                .get,
                "/api/v1/notifications/unread_count",
                operationID: "getUnreadCount",
                summary: "How many came after the mark of what you have read, up to the limit.",
                tag: "notifications",
                access: .user(["read:notifications"]),
                inputs: [Parameter("limit", .integer, "How far is counted.")]
                    + Self.choice.dropLast(),
                output: .entity("UnreadCount")
            ) { try await unread($0) },
            Endpoint(
                .get,
                "/api/v1/notifications/:id",
                operationID: "getNotification",
                summary: "One notification.",
                tag: "notifications",
                access: .user(["read:notifications"]),
                output: .entity("Notification")
            ) { call in
                let id: NotificationID = try call.id()
                let found = try await notifications([id], of: call.user())
                guard let notification = found[id] else { throw ServiceError.notFound }
                return .json(notification)
            },
            Endpoint(
                .post,
                "/api/v1/notifications/clear",
                operationID: "clearNotifications",
                summary: "Takes all of them off the list.",
                tag: "notifications",
                access: .user(["write:notifications"]),
                output: .emptyObject
            ) { call in
                try await store.clear(try call.user())
                return .emptyObject
            },
            Endpoint(
                .post,
                "/api/v1/notifications/:id/dismiss",
                operationID: "dismissNotification",
                summary: "Takes one off the list.",
                tag: "notifications",
                access: .user(["write:notifications"]),
                output: .emptyObject
            ) { call in
                let id: NotificationID = try call.id()
                guard try await store.dismiss(.one(id), of: call.user()) else {
                    throw ServiceError.notFound
                }
                return .emptyObject
            },
        ]
    }

    private func list(_ call: Call) async throws -> Response {
        let user = try call.user()
        let page = try PageRequest(call.input, defaultLimit: 40, mostLimit: 80)
        let rows = try await store.page(
            of: user,
            kinds: try Self.kinds(call.input),
            actor: try Self.actor(call.input),
            page
        ).sorted { $0.id > $1.id }
        var response = Response.json(try await show(rows, to: user))
        response.link(
            call,
            first: rows.first?.id.rawValue,
            last: rows.last?.id.rawValue,
            isFull: rows.count == page.limit
        )
        return response
    }

    func unread(_ call: Call) async throws -> Response {
        let limit = min(max(call.input.int("limit") ?? 100, 1), 1_000)
        let count = try await store.unread(
            of: try call.user(),
            kinds: try Self.kinds(call.input),
            limit: limit
        )
        return .json(UnreadCountEntity(count: count))
    }

    // MARK: Input

    /// The kinds that are asked for. Names of kinds that we have not are of no consequence.
    static func kinds(_ input: Input) throws(ServiceError) -> [NotificationKind] {
        let wanted = input.strings("types")
        let unwanted = input.strings("exclude_types")
        return NotificationKind.allCases.filter {
            (wanted.isEmpty || wanted.contains($0.rawValue)) && !unwanted.contains($0.rawValue)
        }
    }

    static func actor(_ input: Input) throws(ServiceError) -> UserID? {
        guard let text = input.string("account_id"), !text.isEmpty else { return nil }
        guard let actor = UserID(text) else { throw .notFound }
        return actor
    }
}
