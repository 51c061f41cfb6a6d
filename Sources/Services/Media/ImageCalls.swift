import Contracts
import HTTP
import JSON
import ServiceKit
import Sharding

/// What another node has this service do with pictures of profiles: both ends of the call.
enum ImageCall {
    /// A change that older nodes would misread gets another number.
    static let path = "/internal/media/v1/images"

    /// Decoding and storing a large picture takes its time.
    static let deadline = Duration.seconds(8)
}

extension MediaService {
    /// ``ImageStore/store(_:as:owner:)`` for nodes that do not run this service.
    var imageCallEndpoint: Endpoint {
        Endpoint(
            .post,
            ImageCall.path,
            operationID: "storeImage",
            summary: "Store a picture for another node",
            tag: "internal",
            access: .peer,
            body: .raw(limit: MediaLimits.imageBytes),
            output: .content("application/json"),
            isAction: false
        ) { call in
            guard let use = call.input.string("use").flatMap(ImageUse.init(rawValue:)),
                let owner = call.input.string("owner").flatMap({ UserID($0) })
            else { throw ServiceError(.badRequest, "A picture of whom, and for what?") }
            let image = try await call.request.body.collect(upTo: MediaLimits.imageBytes)
            let stored = try await store(image, as: use, owner: owner)
            return .json { json in
                json.object { json in
                    json.field("url", stored.url)
                    json.field("static_url", stored.staticURL)
                }
            }
        }
    }
}

/// The pictures of profiles on a node without this service: cut and stored by the service's own pool.
///
/// While that does not answer, a change of picture is refused with 503, and nothing else is.
package struct RemoteImages: ImageStore {
    private let caller: ServiceCaller

    package init(caller: ServiceCaller) {
        self.caller = caller
    }

    package func store(
        _ image: [UInt8],
        as use: ImageUse,
        owner: UserID
    ) async throws -> StoredImage {
        guard image.count <= MediaLimits.imageBytes else { throw MediaService.tooLarge }
        let json = try await caller.call(
            .post,
            "\(ImageCall.path)?use=\(use.rawValue)&owner=\(owner)",
            body: image,
            within: ImageCall.deadline,
            for: nil
        )
        guard let url = json["url"]?.string, let staticURL = json["static_url"]?.string else {
            throw ServiceError(.internal, "The picture was not stored.")
        }
        return StoredImage(url: url, staticURL: staticURL)
    }
}
