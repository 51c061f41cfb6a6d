import JSON
import Sharding

/// A photo of a post.
package struct MediaAttachmentEntity: Sendable, Equatable, JSONEncodable {
    package enum Kind: String, Sendable {
        case unknown, image, gifv, video, audio
    }

    package struct Size: Sendable, Equatable, JSONEncodable {
        package var width: Int
        package var height: Int

        package init(width: Int, height: Int) {
            self.width = width
            self.height = height
        }

        package func write(to json: inout JSONWriter) {
            json.object { json in
                json.field("width", width)
                json.field("height", height)
                json.field("size", "\(width)x\(height)")
                json.field("aspect", height == 0 ? 0 : Double(width) / Double(height))
            }
        }
    }

    /// The point of the picture that no crop may lose, from −1 to 1 on both axes, y upwards.
    package struct Focus: Sendable, Equatable, JSONEncodable {
        package var x: Double
        package var y: Double

        package init(x: Double, y: Double) {
            self.x = x
            self.y = y
        }

        package func write(to json: inout JSONWriter) {
            json.object { json in
                json.field("x", x)
                json.field("y", y)
            }
        }
    }

    package var id: MediaID
    package var kind: Kind
    /// Null while the photo is processed.
    package var url: String?
    package var previewURL: String?
    package var original: Size?
    package var small: Size?
    package var focus: Focus?
    /// What the photo shows, for those who cannot see it.
    package var description: String?
    package var blurhash: String?

    package init(
        id: MediaID,
        kind: Kind = .image,
        url: String?,
        previewURL: String?,
        original: Size?,
        small: Size?,
        focus: Focus? = nil,
        description: String? = nil,
        blurhash: String? = nil
    ) {
        self.id = id
        self.kind = kind
        self.url = url
        self.previewURL = previewURL
        self.original = original
        self.small = small
        self.focus = focus
        self.description = description
        self.blurhash = blurhash
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id.description)
            json.field("type", kind.rawValue)
            json.field("url", url)
            json.field("preview_url", previewURL)
            json.field("remote_url", String?.none)
            json.field("preview_remote_url", String?.none)
            json.field("text_url", String?.none)
            json.key("meta")
            json.object { json in
                if let original { json.field("original", original) }
                if let small { json.field("small", small) }
                if let focus { json.field("focus", focus) }
            }
            json.field("description", description)
            json.field("blurhash", blurhash)
        }
    }
}

extension MediaAttachmentEntity {
    /// Reads what ``write(to:)`` has written, as a cache keeps it.
    package init?(_ json: JSONValue) {
        guard let id = json["id"]?.string.flatMap({ MediaID($0) }),
            let kind = json["type"]?.string.flatMap(Kind.init(rawValue:)),
            let meta = json["meta"]
        else { return nil }
        self.init(
            id: id,
            kind: kind,
            url: json["url"]?.string,
            previewURL: json["preview_url"]?.string,
            original: meta["original"].flatMap(Size.init),
            small: meta["small"].flatMap(Size.init),
            focus: meta["focus"].flatMap(Focus.init),
            description: json["description"]?.string,
            blurhash: json["blurhash"]?.string
        )
    }
}

extension MediaAttachmentEntity.Size {
    fileprivate init?(_ json: JSONValue) {
        guard let width = json["width"]?.int, let height = json["height"]?.int else { return nil }
        self.init(width: width, height: height)
    }
}

extension MediaAttachmentEntity.Focus {
    fileprivate init?(_ json: JSONValue) {
        guard let x = json["x"]?.double, let y = json["y"]?.double else { return nil }
        self.init(x: x, y: y)
    }
}
