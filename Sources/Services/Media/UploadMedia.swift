import Contracts
import Crypto
import HTTP
import Objects
import ServiceKit

/// A photo as it arrived: the bytes in the store, not yet looked into.
struct Upload: Sendable {
    let file: ObjectUpload
    let format: ImageFormat
    let description: String?
    let focus: MediaAttachmentEntity.Focus?
}

extension MediaService {
    /// Takes a form with a photo, and answers with the medium that became of it.
    func upload(_ call: Call) async throws -> Response {
        let owner = try call.user()
        let upload = try await receive(call)
        let response: Response
        do {
            // A photo is not worked through and stored again for an answer that has been given.
            response = try await identified(call, by: upload).once(
                for: owner,
                in: database,
                looksFirst: true
            ) {
                try await process(upload, owner: owner)
            }
        } catch {
            await upload.file.abandon()
            throw Self.refusal(error)
        }
        await upload.file.abandon()
        return response
    }

    // MARK: Receiving

    private func receive(_ call: Call) async throws -> Upload {
        if let length = call.request.body.declaredLength, length > MediaLimits.formBytes {
            throw Self.tooLarge
        }
        let reader = try MultipartReader(
            call.request.body,
            contentType: call.request.header("Content-Type")
        )
        var file: (ObjectUpload, ImageFormat)?
        var input = call.input
        do {
            while let part = try await reader.nextPart() {
                switch part.name {
                case "file":
                    if let (earlier, _) = file { await earlier.abandon() }
                    file = nil
                    file = try await receiveFile(reader)
                case "description", "focus":
                    let bytes = try await reader.collect(upTo: 64 << 10)
                    guard let text = String(validating: bytes, as: UTF8.self) else {
                        throw ServiceError(.badRequest, "The field \(part.name) is not UTF-8.")
                    }
                    try input.add(part.name, .text(text))
                default:
                    // A thumbnail of the client's own, and what else may come, is not kept.
                    continue
                }
            }
            guard let (bytes, format) = file else {
                throw ServiceError.invalid("File can't be blank")
            }
            return Upload(
                file: bytes,
                format: format,
                description: try input.string("description").map(MediaInput.description),
                focus: try input.string("focus").flatMap(MediaInput.focus)
            )
        } catch {
            await file?.0.abandon()
            throw Self.refusal(error)
        }
    }

    /// Streams the part into the store; its first bytes decide whether the rest is read at all.
    private func receiveFile(_ reader: MultipartReader) async throws -> (ObjectUpload, ImageFormat)
    {
        var prefix: [UInt8] = []
        while prefix.count < ImageFormat.prefixBytes, let chunk = try await reader.nextChunk() {
            prefix += chunk
        }
        guard !prefix.isEmpty else { throw ServiceError.invalid("File can't be blank") }
        guard let format = ImageFormat(prefix: prefix) else { throw ImageRefusal.unknownType }
        let upload = try await objects.begin(limit: MediaLimits.imageBytes)
        do {
            try await upload.write(prefix)
            while let chunk = try await reader.nextChunk() { try await upload.write(chunk) }
            try await upload.flush()
        } catch {
            await upload.abandon()
            throw error
        }
        return (upload, format)
    }

    /// The call with what its form said, so that an idempotency key is bound to the photo as well.
    private func identified(_ call: Call, by upload: Upload) async throws -> Call {
        guard call.request.header("Idempotency-Key") != nil else { return call }
        var input = call.input
        try input.add("description", upload.description.map { .text($0) } ?? .null)
        try input.add("focus", upload.focus.map { .text("\($0.x),\($0.y)") } ?? .null)
        try input.add("file", .text(try await images.digest(upload.file.path)))
        return Call(
            request: call.request,
            authentication: call.authentication,
            input: input,
            publicURL: call.publicURL
        )
    }

    // MARK: Processing

    private func process(_ upload: Upload, owner: UserID) async throws -> OnceWrite {
        let image = try await images.process(upload.file.path, upload.format)
        let name = MediumName.fresh()
        let id = try await store.begin(name, use: .post, owner: owner)
        try await put(image.renditions, name)
        var medium = MediumRecord(id: id, owner: owner, name: name, image: image)
        medium.description = upload.description
        medium.focus = upload.focus
        return OnceWrite(
            response: .json(entity(medium)),
            statements: [store.readying(medium)]
        )
    }

    private func put(_ renditions: [Rendition], _ name: MediumName) async throws {
        for rendition in renditions {
            guard let object = name.object(rendition.file) else {
                preconditionFailure("\(rendition.file) is no file of a medium")
            }
            try await objects.put(object, rendition.bytes)
        }
    }

    // MARK: ImageStore

    package func store(
        _ image: [UInt8],
        as use: ImageUse,
        owner: UserID
    ) async throws -> StoredImage {
        do {
            guard image.count <= MediaLimits.imageBytes else { throw Self.tooLarge }
            guard let format = ImageFormat(prefix: image) else { throw ImageRefusal.unknownType }
            let upload = try await objects.begin(limit: MediaLimits.imageBytes)
            let rendition: Rendition
            do {
                try await upload.write(image)
                try await upload.flush()
                rendition = try await images.crop(
                    upload.path,
                    format,
                    to: use == .avatar ? (400, 400) : (1500, 500),
                    name: use.rawValue
                )
            } catch {
                await upload.abandon()
                throw error
            }
            await upload.abandon()
            let name = MediumName.fresh()
            let id = try await store.begin(name, use: MediumUse(use), owner: owner)
            try await put([rendition], name)
            try await store.readyProfile(
                id,
                use: MediumUse(use),
                owner: owner,
                file: rendition.file,
                width: rendition.width,
                height: rendition.height
            )
            let address = url(name, rendition.file)
            return StoredImage(url: address, staticURL: address)
        } catch {
            throw Self.refusal(error)
        }
    }

    // MARK: Refusals

    static let tooLarge = ServiceError(
        .tooLarge,
        "Validation failed: File is larger than \(MediaLimits.imageBytes >> 20) MiB"
    )

    /// What a client is told of what went wrong with a picture or the store.
    static func refusal(_ error: any Error) -> any Error {
        switch error {
        case let refusal as ImageRefusal:
            ServiceError(
                .unprocessable,
                "Validation failed: " + refusal.message,
                cause: refusal
            )
        case ObjectError.tooLarge: tooLarge
        case let error as ObjectError:
            ServiceError.unavailable(
                error == .full
                    ? "There is no room for new photos at the moment."
                    : "Photos cannot be stored for a moment.",
                retryAfter: error == .full ? 60 : 1,
                cause: error
            )
        default: error
        }
    }
}
