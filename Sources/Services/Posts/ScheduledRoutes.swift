import Contracts
import HTTP
import Postgres
import ServiceKit
import Sharding

/// `/api/v1/scheduled_statuses`: posts that wait for their time.
struct ScheduledRoutes: Sendable {
    /// How many posts of one author may wait.
    static let limit = 300

    /// How far ahead a post must be scheduled at least, as clients know it.
    static let leastAhead = Duration.seconds(300)

    let directory: PostDirectory
    let scheduled: ScheduledStore

    var endpoints: [Endpoint] { [list, one, move, delete] }

    /// The time that a client asks for; nil for now.
    static func time(_ input: Input) throws(ServiceError) -> Timestamp? {
        guard let text = input.string("scheduled_at"), !text.isEmpty else { return nil }
        guard let time = Timestamp(iso8601: text) else {
            throw .invalid("scheduled_at is not an ISO 8601 time with its zone")
        }
        guard time - Timestamp.now >= leastAhead else {
            throw .invalid("The scheduled date must be at least 5 minutes in the future")
        }
        return time
    }

    private var list: Endpoint {
        Endpoint(
            .get,
            "/api/v1/scheduled_statuses",
            operationID: "getScheduledStatuses",
            summary: "One's posts that wait for their time, the latest made first.",
            tag: "scheduled_statuses",
            access: .user(["read:statuses"]),
            inputs: Parameter.paging,
            output: .list("ScheduledStatus")
        ) { call in
            let page = try PageRequest(call.input)
            let rows = try await scheduled.waiting(
                of: call.user(),
                lower: page.lower,
                upper: page.upper,
                ascending: page.isAscending,
                limit: page.limit
            ).sorted { $0.id > $1.id }
            var response = Response.json(rows.map(\.entity))
            response.link(
                call,
                first: rows.first?.id.rawValue,
                last: rows.last?.id.rawValue,
                isFull: rows.count == page.limit
            )
            return response
        }
    }

    private var one: Endpoint {
        Endpoint(
            .get,
            "/api/v1/scheduled_statuses/:id",
            operationID: "getScheduledStatus",
            summary: "A post that waits.",
            tag: "scheduled_statuses",
            access: .user(["read:statuses"]),
            output: .entity("ScheduledStatus")
        ) { .json(try await found($0).entity) }
    }

    private var move: Endpoint {
        Endpoint(
            .put,
            "/api/v1/scheduled_statuses/:id",
            operationID: "moveScheduledStatus",
            summary: "Gives a post that waits another time.",
            tag: "scheduled_statuses",
            access: .user(["write:statuses"]),
            inputs: [
                Parameter("scheduled_at", .string, required: true, "When it shall be published.")
            ],
            output: .entity("ScheduledStatus")
        ) { call in
            guard let time = try Self.time(call.input) else {
                throw ServiceError.invalid("scheduled_at can't be blank")
            }
            let waiting = try await found(call)
            let trace = call.request.traceparent
            guard try await scheduled.move(waiting, to: time, trace: trace) else {
                throw ServiceError.notFound
            }
            return .json(try await found(call).entity)
        }
    }

    private var delete: Endpoint {
        Endpoint(
            .delete,
            "/api/v1/scheduled_statuses/:id",
            operationID: "deleteScheduledStatus",
            summary: "Takes a post back that waits.",
            tag: "scheduled_statuses",
            access: .user(["write:statuses"]),
            output: .emptyObject
        ) { call in
            let waiting = try await found(call)
            guard try await scheduled.delete(waiting, trace: call.request.traceparent) else {
                throw ServiceError.notFound
            }
            return .emptyObject
        }
    }

    private func found(_ call: Call) async throws -> ScheduledStore.Waiting {
        guard let found = try await scheduled.waiting(call.id(), of: call.user()) else {
            throw ServiceError.notFound
        }
        return found
    }
}

extension ScheduledStore.Waiting {
    var entity: ScheduledStatusEntity {
        ScheduledStatusEntity(fragment, at: scheduledAt)
    }
}

extension ScheduledStatusEntity {
    init(_ fragment: PostFragment, at time: Timestamp) {
        let post = fragment.post
        self.init(
            id: post.id,
            scheduledAt: time,
            text: post.text,
            spoilerText: post.spoilerText,
            sensitive: post.sensitive,
            language: post.language,
            visibility: post.visibility,
            inReplyTo: post.inReplyTo,
            attachments: fragment.attachments,
            pollOptions: post.details.poll?.options ?? []
        )
    }
}
