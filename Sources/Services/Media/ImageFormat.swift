import CVips

/// A kind of picture that may be uploaded, decided by what the file holds and never by its name.
package enum ImageFormat: String, Sendable, CaseIterable {
    case jpeg
    case png
    case webp
    case gif
    case heif

    /// How many bytes of a file decide.
    static let prefixBytes = 32

    /// The format of a file that begins with these bytes.
    init?(prefix: some Collection<UInt8>) {
        let bytes = Array(prefix.prefix(ImageFormat.prefixBytes))
        func has(_ text: String, at offset: Int) -> Bool {
            bytes.dropFirst(offset).starts(with: text.utf8)
        }
        if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
            self = .jpeg
        } else if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
            self = .png
        } else if has("GIF87a", at: 0) || has("GIF89a", at: 0) {
            self = .gif
        } else if has("RIFF", at: 0), has("WEBP", at: 8) {
            self = .webp
        } else if has("ftyp", at: 4), ImageFormat.heifBrands.contains(where: { has($0, at: 8) }) {
            self = .heif
        } else {
            return nil
        }
    }

    private static let heifBrands = [
        "heic", "heix", "heim", "heis", "hevc", "mif1", "msf1", "avif",
    ]

    /// The ending of the files in which we keep it; a HEIF is kept as JPEG.
    var fileExtension: String {
        switch self {
        case .jpeg, .heif: "jpg"
        case .png: "png"
        case .webp: "webp"
        case .gif: "gif"
        }
    }

    /// The types that a file of each ending is served as.
    static let contentTypes = [
        "jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif",
    ]

    var vips: tessera_image_format {
        switch self {
        case .jpeg: TESSERA_IMAGE_JPEG
        case .png: TESSERA_IMAGE_PNG
        case .webp: TESSERA_IMAGE_WEBP
        case .gif: TESSERA_IMAGE_GIF
        case .heif: TESSERA_IMAGE_HEIF
        }
    }
}
