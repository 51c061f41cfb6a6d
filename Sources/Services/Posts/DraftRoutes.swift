import Contracts
import HTTP
import Postgres
import ServiceKit
import Sharding

/// `/api/tessera/v1/drafts`: what is being written, kept as it is typed so that a lost connection loses nothing.
///
/// A draft that is published with `draft_id` ends in the same transaction.
struct DraftRoutes: Sendable {
    /// How many drafts a user may have.
    static let limit = 100

    private static let path = "/api/tessera/v1/drafts"

    private static let fields = [
        Parameter("status", .string, "The text so far."),
        Parameter("spoiler_text", .string, "The warning so far."),
        Parameter("visibility", .string, "Who shall see it."),
        Parameter("language", .string, "Its language."),
        Parameter("sensitive", .boolean, "Whether its photos shall be hidden at first."),
        Parameter("in_reply_to_id", .string, "What it answers."),
        Parameter("media_ids", .strings, "Photos; those that no post has taken go after a day."),
    ]

    let drafts: DraftStore

    var endpoints: [Endpoint] { [list, create, one, replace, delete] }

    private var list: Endpoint {
        endpoint(
            .get,
            "",
            "getDrafts",
            "One's drafts, the latest begun first.",
            inputs: Parameter.paging,
            output: .list("Draft")
        ) { call in
            let page = try PageRequest(call.input)
            let rows = try await drafts.drafts(
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

    private var create: Endpoint {
        endpoint(.post, "", "createDraft", "Begins a draft.", inputs: Self.fields) { call in
            let user = try call.user()
            let params = try Self.params(call.input)
            return try await call.once(for: user, in: drafts.database) {
                guard try await drafts.count(of: user) < Self.limit else {
                    throw ServiceError.invalid("There can be no more than \(Self.limit) drafts")
                }
                let id = try await drafts.nextID(for: user)
                let entity = DraftEntity(
                    id: id.rawValue,
                    version: 1,
                    params: params,
                    updatedAt: id.createdAt
                )
                return OnceWrite(
                    response: .json(entity),
                    statements: [DraftStore.insert(id, params, of: user)]
                )
            }
        }
    }

    private var one: Endpoint {
        endpoint(.get, "/:id", "getDraft", "One draft.") { call in
            .json(try await found(call).entity)
        }
    }

    private var replace: Endpoint {
        endpoint(
            .put,
            "/:id",
            "replaceDraft",
            "Replaces what is written.",
            inputs: Self.fields + [
                Parameter(
                    "version",
                    .integer,
                    "The version that this one follows; another one in between is answered 409."
                )
            ]
        ) { call in
            let params = try Self.params(call.input)
            let version = call.input.int("version").map(Int64.init)
            let replaced = try await drafts.replace(
                call.id(),
                of: call.user(),
                version: version,
                params
            )
            guard let replaced else {
                _ = try await found(call)
                throw ServiceError(.conflict, "The draft has been changed meanwhile.")
            }
            return .json(replaced.entity)
        }
    }

    private var delete: Endpoint {
        endpoint(.delete, "/:id", "deleteDraft", "Deletes a draft.", output: .emptyObject) { call in
            guard try await drafts.delete(call.id(), of: call.user()) else {
                throw ServiceError.notFound
            }
            return .emptyObject
        }
    }

    private func endpoint(
        _ method: Method,
        _ path: String,
        _ operationID: String,
        _ summary: String,
        inputs: [Parameter] = [],
        output: Endpoint.Output = .entity("Draft"),
        handler: @escaping @Sendable (Call) async throws -> Response
    ) -> Endpoint {
        Endpoint(
            method,
            Self.path + path,
            operationID: operationID,
            summary: summary,
            tag: "drafts",
            access: .user([method == .get ? "read:statuses" : "write:statuses"]),
            inputs: inputs,
            output: output,
            // Nobody's page shows a draft.
            isAction: false,
            handler: handler
        )
    }

    private func found(_ call: Call) async throws -> DraftStore.Draft {
        guard let found = try await drafts.draft(call.id(), of: call.user()) else {
            throw ServiceError.notFound
        }
        return found
    }

    private static func params(_ input: Input) throws(ServiceError) -> DraftEntity.Params {
        var params = DraftEntity.Params()
        params.status = try PostDraft.text(input.string("status") ?? "", keepsEnd: true)
        params.spoilerText = try PostDraft.text(input.string("spoiler_text") ?? "", keepsEnd: true)
        params.visibility = try short(input.string("visibility"))
        params.language = try short(input.string("language"))
        params.sensitive = input.bool("sensitive") ?? false
        params.inReplyTo = try short(input.string("in_reply_to_id"))
        for id in input.strings("media_ids") {
            if let id = try short(id) { params.media.append(id) }
        }
        guard params.media.count <= PostDraft.mediaLimit else {
            throw .invalid("Cannot attach more than \(PostDraft.mediaLimit) files")
        }
        return params
    }

    /// Names and ids, whatever they are; none is longer.
    private static func short(_ text: String?) throws(ServiceError) -> String? {
        guard let text, !text.isEmpty else { return nil }
        guard text.utf8.count <= 32, !text.utf8.contains(0) else {
            throw .invalid("A field of the draft is too long")
        }
        return text
    }
}
