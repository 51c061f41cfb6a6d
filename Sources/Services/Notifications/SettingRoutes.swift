import Contracts
import HTTP
import ServiceKit

extension NotificationsService {
    private static let path = "/api/tessera/v1/notification_settings"

    private static var kindParameters: [Parameter] {
        NotificationKind.allCases.map { kind in
            Parameter(
                kind.rawValue,
                .oneOf(NotificationSenders.allCases.map(\.rawValue)),
                "From whom you want to hear of it."
            )
        }
    }

    var settingEndpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                Self.path,
                operationID: "getNotificationSettings",
                summary: "From whom you want each kind of notification.",
                tag: "notifications",
                access: .user(["read:notifications"]),
                output: .entity("NotificationSettings")
            ) { call in
                let user = try call.user()
                return .json(
                    NotificationSettingsEntity(
                        senders: try await store.senders(of: [user])[user] ?? [:]
                    )
                )
            },
            Endpoint(
                .patch,
                Self.path,
                operationID: "updateNotificationSettings",
                summary: "Changes from whom you want some kinds; the others stay.",
                tag: "notifications",
                access: .user(["write:notifications"]),
                inputs: Self.kindParameters,
                output: .entity("NotificationSettings")
            ) { call in
                let user = try call.user()
                var senders: [NotificationKind: NotificationSenders] = [:]
                for kind in NotificationKind.allCases {
                    guard let text = call.input.string(kind.rawValue) else { continue }
                    guard let choice = NotificationSenders(rawValue: text) else {
                        throw ServiceError.invalid("\(kind.rawValue) is not included in the list")
                    }
                    senders[kind] = choice
                }
                if !senders.isEmpty { try await store.choose(senders, for: user) }
                return .json(
                    NotificationSettingsEntity(
                        senders: try await store.senders(of: [user])[user] ?? [:]
                    )
                )
            },
        ]
    }
}
