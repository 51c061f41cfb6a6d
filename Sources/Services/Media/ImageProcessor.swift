import CVips
import Crypto
import EventLoops
import Glibc

/// One file of a processed picture.
struct Rendition: Sendable {
    /// The file's name, such as `small.jpg`.
    let file: String
    let width: Int
    let height: Int
    let bytes: [UInt8]
}

/// What is kept of an uploaded picture.
struct ProcessedImage: Sendable {
    let original: Rendition
    let small: Rendition
    let thumbnail: Rendition
    let blurhash: String

    var renditions: [Rendition] { [original, small, thumbnail] }
}

/// Turns uploaded files into the files that are served.
///
/// Every pixel is decoded and encoded anew, so that nothing of the file but the picture is left: no location, no
/// camera, no appended data. The work runs on the given threads, one picture a thread, and its queue is bounded.
package struct ImageProcessor: Sendable {
    static let originalBox = 2048
    static let smallBox = 640
    static let thumbnailBox = 320

    private let offload: Offload

    /// Pictures above this leave so much memory to the allocator that it is worth handing back.
    private static let trimPixels = 4_000_000

    /// How many threads work inside one picture.
    private static let threadsPerImage: Int32 = 1

    private static let isStarted = tessera_vips_start(threadsPerImage) == 0

    package init(offload: Offload) {
        precondition(ImageProcessor.isStarted, "libvips does not start")
        self.offload = offload
    }

    /// Whether Debian's libvips was built with a reader of HEIC.
    package static var readsHEIC: Bool { tessera_vips_reads(TESSERA_IMAGE_HEIF) != 0 }

    /// The photo of a post.
    func process(_ path: String, _ format: ImageFormat) async throws -> ProcessedImage {
        try await offload.run {
            let header = try ImageProcessor.check(path, format)
            defer { if header.pixels > ImageProcessor.trimPixels { tessera_vips_trim() } }
            return try ImageProcessor.process(path, format, isAnimated: header.isAnimated)
        }
    }

    /// A picture that fills a box, for avatars and headers.
    func crop(
        _ path: String,
        _ format: ImageFormat,
        to box: (width: Int, height: Int),
        name: String
    ) async throws -> Rendition {
        let (width, height) = box
        return try await offload.run {
            let header = try ImageProcessor.check(path, format)
            defer { if header.pixels > ImageProcessor.trimPixels { tessera_vips_trim() } }
            let picture = try Picture.load(path, box: (width, height), crop: true)
            return try rendition(name, picture, picture.isTransparent ? .png : .jpeg, quality: 85)
        }
    }

    /// The SHA-256 of an uploaded file.
    func digest(_ path: String) async throws -> String {
        try await offload.run { Base64URL.encode(Digest.sha256(try readFile(path))) }
    }

    // MARK: On a thread of the offload

    private static func process(
        _ path: String,
        _ format: ImageFormat,
        isAnimated: Bool
    ) throws(ImageRefusal) -> ProcessedImage {
        let picture = try Picture.load(path, box: (originalBox, originalBox))
        let isTransparent = picture.isTransparent
        let original: Rendition
        if isAnimated {
            let moving = try Picture.load(path, box: (originalBox, originalBox), animated: true)
            original = try rendition("original", moving, format, quality: 80)
        } else {
            let kept = format == .heif ? .jpeg : format == .gif ? .png : format
            original = try rendition("original", picture, kept, quality: 86)
        }
        let kept: ImageFormat = isTransparent ? .png : .jpeg
        let small = try picture.shrunk(to: smallBox)
        let thumbnail = try small.shrunk(to: thumbnailBox)
        let tiny = try thumbnail.shrunk(to: 32)
        return ProcessedImage(
            original: original,
            small: try rendition("small", small, kept, quality: 80),
            thumbnail: try rendition("thumbnail", thumbnail, kept, quality: 78),
            blurhash: BlurHash.encode(rgb: try tiny.rgb(), width: tiny.width, height: tiny.height)
        )
    }

    /// Refuses what its header says is too large; returns its size, and whether it moves.
    private static func check(
        _ path: String,
        _ format: ImageFormat
    ) throws(ImageRefusal) -> (pixels: Int, isAnimated: Bool) {
        if format == .gif, !GIFBlocks(try readFile(path)).isComplete { throw .broken("cut short") }
        let (width, height, frames) = try Picture.header(of: path, format)
        guard width > 0, height > 0, width * height <= MediaLimits.imagePixels else {
            throw .tooManyPixels
        }
        guard frames > 1, format == .gif || format == .webp else { return (width * height, false) }
        guard frames <= MediaLimits.animationFrames,
            width * height * frames <= MediaLimits.animationPixels
        else { throw .animationTooLarge }
        return (width * height * frames, true)
    }
}

private func readFile(_ path: String) throws(ImageRefusal) -> [UInt8] {
    guard let file = fopen(path, "rbe") else { throw .broken("unreadable") }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    while bytes.count <= MediaLimits.imageBytes {
        // fread writes at most the capacity that it is told.
        let piece = [UInt8](unsafeUninitializedCapacity: 1 << 18) { buffer, count in
            count = fread(buffer.baseAddress, 1, buffer.count, file)
        }
        if piece.isEmpty { break }
        bytes += piece
    }
    return bytes
}

private func rendition(
    _ name: String,
    _ picture: Picture,
    _ format: ImageFormat,
    quality: Int
) throws(ImageRefusal) -> Rendition {
    Rendition(
        file: "\(name).\(format.fileExtension)",
        width: picture.width,
        height: picture.height,
        bytes: try picture.encoded(as: format, quality: quality)
    )
}
