import CVips

/// Why a file is not taken as a picture.
enum ImageRefusal: Error, Sendable, Equatable {
    case unknownType
    case tooManyPixels
    case animationTooLarge
    /// What libvips said is for the log.
    case broken(String)

    var message: String {
        switch self {
        case .unknownType: "File is not a JPEG, PNG, WebP, GIF or HEIC picture"
        case .tooManyPixels:
            "The picture has more than \(MediaLimits.imagePixels / 1_000_000) million pixels"
        case .animationTooLarge:
            "The animation has more than \(MediaLimits.animationPixels / 1_000_000) million pixels "
                + "in all frames, or more than \(MediaLimits.animationFrames) frames"
        case .broken: "The picture is damaged or incomplete"
        }
    }
}

/// A decoded picture in memory: upright, sRGB, without metadata. Made and used on a thread of the image pool.
final class Picture {
    private let image: OpaquePointer

    private init(_ image: OpaquePointer) { self.image = image }

    deinit { tessera_image_free(image) }

    var width: Int { Int(tessera_image_width(image)) }

    /// Of one frame.
    var height: Int { Int(tessera_image_height(image)) }

    var isTransparent: Bool { tessera_image_is_transparent(image) != 0 }

    /// Decodes a file into a box, by shrinking only; `crop` fills the box instead.
    static func load(
        _ path: String,
        box: (width: Int, height: Int),
        crop: Bool = false,
        animated: Bool = false
    ) throws(ImageRefusal) -> Picture {
        let image = tessera_image_load(
            path,
            Int32(box.width),
            Int32(box.height),
            crop ? 1 : 0,
            animated ? 1 : 0,
            MediaLimits.decodingSeconds
        )
        guard let image else { throw .broken(Picture.takeError()) }
        return Picture(image)
    }

    /// A smaller copy; of a picture with one frame.
    func shrunk(to box: Int) throws(ImageRefusal) -> Picture {
        guard let small = tessera_image_shrink(image, Int32(box), Int32(box)) else {
            throw .broken(Picture.takeError())
        }
        return Picture(small)
    }

    func encoded(as format: ImageFormat, quality: Int) throws(ImageRefusal) -> [UInt8] {
        var length = 0
        let bytes = tessera_image_encode(image, format.vips, Int32(quality), &length)
        let encoded = try Picture.take(bytes, length)
        guard format == .webp else { return encoded }
        guard let stripped = WebPChunks.stripped(encoded) else { throw .broken("bad WebP written") }
        return stripped
    }

    /// Rows of RGB bytes, on white.
    func rgb() throws(ImageRefusal) -> [UInt8] {
        var length = 0
        let bytes = tessera_image_rgb(image, &length)
        return try Picture.take(bytes, length)
    }

    /// Copies what the shim has allocated, and gives it back.
    private static func take(
        _ bytes: UnsafeMutablePointer<UInt8>?,
        _ length: Int
    ) throws(ImageRefusal) -> [UInt8] {
        guard let bytes else { throw .broken(takeError()) }
        defer { tessera_image_free_bytes(bytes) }
        return Array(UnsafeBufferPointer(start: bytes, count: length))
    }

    /// The size and the number of frames that a file's header states.
    static func header(
        of path: String,
        _ format: ImageFormat
    ) throws(ImageRefusal) -> (width: Int, height: Int, frames: Int) {
        var header = tessera_image_header()
        guard tessera_image_read_header(path, format.vips, &header) == 0 else {
            throw .broken(takeError())
        }
        return (Int(header.width), Int(header.height), Int(header.pages))
    }

    private static func takeError() -> String {
        var text = [CChar](repeating: 0, count: 512)
        tessera_vips_take_error(&text, text.count)
        return String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
    }
}
