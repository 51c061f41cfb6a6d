import Contracts
import HTTP
import ServiceKit
import Sharding

extension NotificationsService {
    private static let timelines = ["home", "notifications"]

    var markerEndpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v1/markers",
                operationID: "getMarkers",
                summary: "How far you have read timelines, on whichever device.",
                tag: "timelines",
                access: .user(["read:statuses"]),
                inputs: [Parameter("timeline", .strings, "home, notifications.")],
                output: .entity("Markers")
            ) { call in
                .json(try await markers(of: call.user(), call.input.strings("timeline")))
            },
            Endpoint(
                .post,
                "/api/v1/markers",
                operationID: "setMarkers",
                summary: "Says how far you have read; a mark never goes back.",
                tag: "timelines",
                access: .user(["write:statuses"]),
                inputs: [
                    Parameter("home", .object, "With last_read_id, the id of a post."),
                    Parameter("notifications", .object, "With last_read_id."),
                ],
                output: .entity("Markers")
            ) { call in
                let user = try call.user()
                let marks = try Self.marks(call.input)
                if !marks.isEmpty { try await store.mark(marks, by: user) }
                return .json(try await markers(of: user, marks.map(\.timeline)))
            },
        ]
    }

    private static func marks(
        _ input: Input
    ) throws(ServiceError) -> [(timeline: String, lastRead: Int64)] {
        var marks: [(timeline: String, lastRead: Int64)] = []
        for timeline in timelines {
            guard let text = input.object(timeline)?.string("last_read_id") else { continue }
            guard let id = Int64(text), id >= 0 else {
                throw .invalid("last_read_id is not an id")
            }
            marks.append((timeline, id))
        }
        return marks
    }

    private func markers(of user: UserID, _ wanted: [String]) async throws -> MarkersEntity {
        var markers = MarkersEntity()
        for row in try await store.markers(of: user) where wanted.contains(row.timeline) {
            if row.timeline == "home" {
                markers.home = row.marker
            } else {
                markers.notifications = row.marker
            }
        }
        return markers
    }
}
