import Contracts
import HTTP
import JSON
import ServiceKit

extension MediaService {
    var uploadEndpoints: [Endpoint] {
        [
            uploadEndpoint("/api/v2/media", operationID: "uploadMedia", "Upload a photo"),
            uploadEndpoint("/api/v1/media", operationID: "uploadMediaV1", "Upload a photo (v1)"),
            Endpoint(
                .get,
                "/api/v1/media/:id",
                operationID: "getMedia",
                summary: "A photo of your own",
                tag: "media",
                access: .user(["write:media"]),
                output: .entity("MediaAttachment")
            ) { call in
                let medium = try await store.medium(try call.id(), owner: try call.user())
                guard let medium else { throw ServiceError.notFound }
                return .json(entity(medium))
            },
            Endpoint(
                .put,
                "/api/v1/media/:id",
                operationID: "updateMedia",
                summary: "Describe a photo before it is posted",
                tag: "media",
                access: .user(["write:media"]),
                inputs: Self.details,
                output: .entity("MediaAttachment"),
                handler: update
            ),
            Endpoint(
                .delete,
                "/api/v1/media/:id",
                operationID: "deleteMedia",
                summary: "Give up a photo that is not posted",
                tag: "media",
                access: .user(["write:media"]),
                output: .emptyObject,
                handler: discard
            ),
        ]
    }

    private static let details = [
        Parameter("description", .string, "What the photo shows, for those who cannot see it."),
        Parameter(
            "focus",
            .string,
            "The point that no crop may lose: x,y from -1 to 1, y upwards."
        ),
    ]

    private func uploadEndpoint(
        _ path: String,
        operationID: String,
        _ summary: String
    ) -> Endpoint {
        Endpoint(
            .post,
            path,
            operationID: operationID,
            summary: summary,
            tag: "media",
            access: .user(["write:media"]),
            body: .raw(limit: MediaLimits.formBytes),
            inputs: [
                Parameter("file", .file, required: true, "JPEG, PNG, WebP, GIF or HEIC.")
            ] + Self.details,
            output: .entity("MediaAttachment"),
            handler: upload
        )
    }

    private func update(_ call: Call) async throws -> Response {
        let medium = try await store.describe(
            try call.id(),
            owner: try call.user(),
            description: try call.input.string("description").map(MediaInput.description),
            focus: try call.input.string("focus").flatMap(MediaInput.focus),
            unattachedOnly: true
        )
        guard let medium else { throw ServiceError.notFound }
        return .json(entity(medium))
    }

    private func discard(_ call: Call) async throws -> Response {
        let (id, owner): (MediaID, UserID) = (try call.id(), try call.user())
        if try await store.discard(id, owner: owner) { return .emptyObject }
        guard try await store.medium(id, owner: owner) != nil else { throw ServiceError.notFound }
        throw ServiceError.invalid("Media attachment is currently used by a status")
    }
}
