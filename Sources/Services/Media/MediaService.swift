import Contracts
import Database
import Jobs
import Objects
import ServiceKit
import Sharding

/// Photos: upload, cleaning, variants, and the files themselves. Read this first.
///
/// An upload is streamed into the object store, decided by its content, decoded and encoded anew, and stored under a
/// random name, by which anybody may read the files without the database being asked. A row in the owner's bucket
/// is written first and knows the state: pending, ready, attached to a post, deleted.
package struct MediaService: Service, MediaClient, ImageStore {
    package static let schema = SchemaRequirement(module: "Media", number: 1)

    let database: Database
    let store: MediaStore
    let objects: DirectoryStore
    let images: ImageProcessor

    /// Where clients reach us, without a final slash: addresses of files begin with it.
    let publicURL: String

    package init(
        database: Database,
        objects: DirectoryStore,
        images: ImageProcessor,
        publicURL: String
    ) {
        self.database = database
        store = MediaStore(database: database)
        self.objects = objects
        self.images = images
        self.publicURL = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
    }

    package var endpoints: [Endpoint] { uploadEndpoints + [fileEndpoint, imageCallEndpoint] }

    package static func effects(database: Database) -> [any EffectHandler] {
        let store = MediaStore(database: database)
        return [
            MediaAttachedHandler(store: store), MediaDetachedHandler(store: store),
            OwnerGoneHandler(store: store),
        ]
    }

    // MARK: MediaClient

    package func attachable(
        _ ids: [MediaID],
        owner: UserID
    ) async throws -> [MediaID: MediaAttachmentEntity] {
        let own = ids.filter { $0.bucket == owner.bucket }
        guard !own.isEmpty else { return [:] }
        return entities(try await store.attachable(own, owner: owner))
    }

    package func attachments(_ ids: [MediaID]) async throws -> [MediaID: MediaAttachmentEntity] {
        guard !ids.isEmpty else { return [:] }
        return entities(try await store.media(ids))
    }

    package func attachments(of posts: [PostID]) async throws -> [MediaID: MediaAttachmentEntity] {
        guard !posts.isEmpty else { return [:] }
        return entities(try await store.media(of: posts))
    }

    package func describe(
        _ id: MediaID,
        owner: UserID,
        description: String?,
        focus: MediaAttachmentEntity.Focus?
    ) async throws {
        let changed = try await store.describe(
            id,
            owner: owner,
            description: try description.map(MediaInput.description),
            focus: focus,
            unattachedOnly: false
        )
        guard changed != nil else { throw ServiceError.notFound }
    }

    // MARK: Entities

    private func entities(_ records: [MediumRecord]) -> [MediaID: MediaAttachmentEntity] {
        Dictionary(records.map { ($0.id, entity($0)) }) { first, _ in first }
    }

    func entity(_ medium: MediumRecord) -> MediaAttachmentEntity {
        MediaAttachmentEntity(
            id: medium.id,
            url: url(medium.name, medium.originalFile),
            previewURL: url(medium.name, medium.smallFile),
            original: .init(width: medium.width, height: medium.height),
            small: .init(width: medium.smallWidth, height: medium.smallHeight),
            focus: medium.focus,
            description: medium.description,
            blurhash: medium.blurhash
        )
    }

    func url(_ name: MediumName, _ file: String) -> String {
        "\(publicURL)/media/\(name.text)/\(file)"
    }
}
