import Contracts
import Database
import HTTP
import Postgres
import ServiceKit
import Sharding

/// `/api/v1/statuses`: publish, read, edit, delete, and what stands around a post.
struct StatusRoutes: Sendable {
    let directory: PostDirectory
    let replies: ReplyStore
    let database: Database

    private static let draft = [
        Parameter("status", .string, "The text; may be empty where photos are attached."),
        Parameter("media_ids", .strings, "Up to ten photos."),
        Parameter("sensitive", .boolean, "Whether the photos are hidden at first."),
        Parameter("spoiler_text", .string, "A warning shown before the text."),
        Parameter("language", .string, "The text's language, as ISO 639 writes it."),
        Parameter("media_attributes", .object, "Descriptions and focal points by photo."),
        Parameter("hide_likes", .boolean, "Whether nobody else sees who likes it, and how many."),
    ]

    var endpoints: [Endpoint] { writing + reading }

    private var writing: [Endpoint] {
        [
            Endpoint(
                .post,
                "/api/v1/statuses",
                operationID: "createStatus",
                summary: "Publishes a post or a comment.",
                tag: "statuses",
                access: .user(["write:statuses"]),
                inputs: Self.draft + [
                    Parameter("in_reply_to_id", .string, "The post that is answered."),
                    Parameter(
                        "visibility",
                        .oneOf(Visibility.allCases.map(\.rawValue)),
                        "Who may see it."
                    ),
                ],
                output: .entity("Status")
            ) { try await publish($0) },
            Endpoint(
                .put,
                "/api/v1/statuses/:id",
                operationID: "editStatus",
                summary: "Changes a post; the version before is kept.",
                tag: "statuses",
                access: .user(["write:statuses"]),
                inputs: Self.draft,
                output: .entity("Status")
            ) { call in
                let user = try call.user()
                let id: PostID = try call.id()
                try await refusingTakenPhotos {
                    try await EditPost(directory: directory)(call, id, by: user)
                }
                return try await status(id, viewer: user)
            },
            Endpoint(
                .delete,
                "/api/v1/statuses/:id",
                operationID: "deleteStatus",
                summary: "Deletes a post, and answers its source.",
                tag: "statuses",
                access: .user(["write:statuses"]),
                output: .entity("Status")
            ) { call in
                let user = try call.user()
                let delete = DeletePost(directory: directory)
                return .json(try await delete(call, call.id(), by: user))
            },
        ]
    }

    private func publish(_ call: Call) async throws -> Response {
        let author = try call.user()
        let publish = PublishPost(directory: directory)
        return try await refusingTakenPhotos {
            try await call.once(for: author, in: database) {
                try await publish.write(call, by: author)
            }
        }
    }

    /// A photo that another post took first, or takes at the same time.
    private func refusingTakenPhotos<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch DatabaseError.uniqueViolation("attachment_pkey") {
            throw ServiceError.invalid("A photo is attached to another post already")
        }
    }

    private var reading: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v1/statuses/:id",
                operationID: "getStatus",
                summary: "One post.",
                tag: "statuses",
                access: .optionalUser,
                output: .entity("Status")
            ) { try await status($0.id(), viewer: $0.viewer) },
            Endpoint(
                .get,
                "/api/v1/statuses",
                operationID: "getStatuses",
                summary: "Several posts.",
                tag: "statuses",
                access: .optionalUser,
                inputs: [Parameter("id", .strings, "Up to twenty ids.")],
                output: .list("Status")
            ) { call in
                let ids = call.input.strings("id").prefix(20).compactMap { PostID($0) }
                let found = try await directory.statuses(ids, viewer: call.viewer)
                return .json(ids.compactMap { found[$0] })
            },
            Endpoint(
                .get,
                "/api/v1/statuses/:id/context",
                operationID: "getStatusContext",
                summary: "What a post answers, and what answers it.",
                tag: "statuses",
                access: .optionalUser,
                output: .entity("Context")
            ) { call in
                let conversation = Conversation(directory: directory, replies: replies)
                return .json(try await conversation.context(of: call.id(), viewer: call.viewer))
            },
            Endpoint(
                .get,
                "/api/v1/statuses/:id/source",
                operationID: "getStatusSource",
                summary: "A post of one's own as it was typed.",
                tag: "statuses",
                access: .user(["read:statuses"]),
                output: .entity("StatusSource")
            ) { call in
                let post = try await fragment(call).post
                guard post.author == call.viewer else { throw ServiceError.notFound }
                return .json(
                    StatusSourceEntity(
                        id: post.id,
                        text: post.text,
                        spoilerText: post.spoilerText
                    )
                )
            },
            Endpoint(
                .get,
                "/api/v1/statuses/:id/history",
                operationID: "getStatusHistory",
                summary: "All versions of a post, oldest first.",
                tag: "statuses",
                access: .optionalUser,
                output: .list("StatusEdit")
            ) { try await history($0) },
        ]
    }

    private func status(_ id: PostID, viewer: UserID?) async throws -> Response {
        guard let entity = try await directory.status(id, viewer: viewer) else {
            throw ServiceError.notFound
        }
        return .json(entity)
    }

    private func fragment(_ call: Call) async throws -> PostFragment {
        guard let found = try await directory.fragment(call.id(), viewer: call.viewer) else {
            throw ServiceError.notFound
        }
        return found
    }

    private func history(_ call: Call) async throws -> Response {
        let current = try await fragment(call)
        let post = current.post
        let rows = try await directory.store.edits(of: post.id)
        let photos = rows.flatMap(\.media)
        let media = photos.isEmpty ? [:] : try await directory.media.attachments(photos)
        guard let account = try await directory.accounts.account(post.author) else {
            throw ServiceError.notFound
        }
        var versions = rows.map { row in
            StatusEditEntity(
                content: directory.rendering.html(RichText(row.text), mentions: post.mentions),
                spoilerText: row.spoilerText,
                sensitive: row.sensitive,
                createdAt: row.createdAt,
                account: account,
                attachments: row.media.compactMap { media[$0] }
            )
        }
        versions.append(
            StatusEditEntity(
                content: current.content,
                spoilerText: post.spoilerText,
                sensitive: post.sensitive,
                createdAt: post.editedAt ?? post.createdAt,
                account: account,
                attachments: current.attachments
            )
        )
        return .json(versions)
    }
}
