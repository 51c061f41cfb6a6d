import EventLoops
import Foundation
import Testing

@testable import Media

/// Pictures as phones, cameras and attackers make them; `Fixtures/make.py` made the files.
struct ImageProcessorTests {
    private let processor = ImageProcessor(
        offload: Offload(threads: 2, queueLimit: 64, name: "images")
    )

    // MARK: What is taken

    @Test(arguments: 1...8) func `the orientation is applied`(orientation: Int) async throws {
        let image = try await process("orientation-\(orientation).jpg")

        #expect(image.original.width == 64)
        #expect(image.original.height == 32)
        let corners = try Corners(image.original.bytes)
        #expect(corners.isUpright, "\(corners)")
    }

    @Test(
        arguments: [
            ("gps.jpg", "original.jpg"), ("location.png", "original.png"),
            ("location.webp", "original.webp"), ("location.heic", "original.jpg"),
        ]
    )
    func `location and all other metadata are gone`(name: String, file: String) async throws {
        let image = try await process(name)

        #expect(image.original.file == file)
        for rendition in image.renditions {
            let blocks = try MetadataBlocks(rendition.bytes)
            #expect(blocks.unexpected == [], "\(rendition.file)")
            let text = String(decoding: rendition.bytes, as: UTF8.self)
            for secret in ["Secret", "Exif", "GPS", "adobe"] {
                #expect(!text.contains(secret), "\(secret) in \(rendition.file)")
            }
        }
        let corners = try Corners(image.original.bytes)
        #expect(corners.isUpright, "\(corners)")
    }

    @Test(
        arguments: [
            "cmyk.jpg", "progressive.jpg", "photo.avif", "still.gif", "wide.jpg",
        ]
    )
    func `other kinds of pictures keep their colours`(name: String) async throws {
        let image = try await process(name)

        let corners = try Corners(image.thumbnail.bytes)
        // Without a profile, inks are only roughly the colours that a screen shows.
        let tolerance = name == "cmyk.jpg" ? 110 : 70
        #expect(corners.isUpright(tolerance: tolerance), "\(corners)")
        #expect(try MetadataBlocks(image.original.bytes).unexpected == [])
    }

    @Test(arguments: ["grey.jpg", "grey16.png"]) func `grey pictures are taken`(
        name: String
    ) async throws {
        let image = try await process(name)

        #expect(image.original.width == 120)
        #expect(image.original.height == 80)
    }

    @Test func `transparency is kept`() async throws {
        for name in ["clear.png", "palette.png"] {
            let image = try await process(name)

            #expect(image.renditions.map(\.file) == ["original.png", "small.png", "thumbnail.png"])
        }
    }

    @Test(arguments: ["moving.gif", "moving.webp"]) func `what moves goes on moving`(
        name: String
    ) async throws {
        let image = try await process(name)

        let format = try #require(ImageFormat(prefix: image.original.bytes))
        let header = try withFile(image.original.bytes) { try Picture.header(of: $0, format) }
        #expect(header.frames == 5)
        #expect(image.original.height == 40)
        #expect(image.small.file == "small.jpg")
        #expect(image.small.height == 40)
    }

    @Test func `large pictures shrink into their boxes, small ones stay as they are`() async throws
    {
        let image = try await process("gps.jpg")

        #expect(image.original.width == 900)
        #expect(image.original.height == 600)
        #expect(image.small.width == 640)
        #expect(image.small.height == 427)
        #expect(image.thumbnail.width == 320)
        #expect(image.blurhash.utf8.count == 28)
    }

    @Test func `an avatar fills its square`() async throws {
        let path = fixture("gps.jpg")
        let avatar = try await processor.crop(path, .jpeg, to: (400, 400), name: "avatar")

        #expect(avatar.width == 400)
        #expect(avatar.height == 400)
        #expect(avatar.file == "avatar.jpg")
    }

    // MARK: What is refused

    @Test(
        arguments: [
            "refused.tiff", "refused.pdf", "refused.jp2", "refused.ppm", "make.py",
        ]
    )
    func `other types are no pictures`(name: String) throws {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: fixture(name)))

        #expect(ImageFormat(prefix: bytes) == nil)
    }

    @Test(
        arguments: [
            "<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "<?xml version=\"1.0\"?><svg/>", "", "G",
            "GIF88a", "RIFF\u{0}\u{0}\u{0}\u{0}WAVE", "\u{0}\u{0}\u{0}\u{18}ftypmp42", "<html>",
        ]
    )
    func `text and other containers are no pictures`(text: String) {
        #expect(ImageFormat(prefix: text.utf8) == nil)
    }

    @Test(arguments: ["refused.tiff", "refused.pdf", "refused.jp2", "refused.ppm"])
    func `libvips itself refuses what is not on the list`(name: String) {
        for format in ImageFormat.allCases {
            #expect(throws: ImageRefusal.self) { try Picture.header(of: fixture(name), format) }
        }
        #expect(throws: ImageRefusal.self) { try Picture.load(fixture(name), box: (100, 100)) }
    }

    @Test func `an SVG is refused by libvips, too`() throws {
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"10\" height=\"10\"/>"

        withFile(Array(svg.utf8)) { path in
            #expect(throws: ImageRefusal.self) { try Picture.load(path, box: (100, 100)) }
        }
    }

    @Test(
        arguments: [
            "gps.jpg", "progressive.jpg", "location.png", "location.webp", "location.heic",
            "moving.gif", "moving.webp", "cmyk.jpg",
        ]
    )
    func `a file that is cut short is refused, wherever it is cut`(name: String) async throws {
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: fixture(name))))
        // gps.jpg ends with a trailer that is no part of the picture.
        let length = name == "gps.jpg" ? bytes.count - 13 : bytes.count
        let format = try #require(ImageFormat(prefix: bytes))

        for part in [0.3, 0.6, 0.9] {
            let cut = Array(bytes[..<Int(Double(length) * part)])
            await #expect(throws: ImageRefusal.self, "\(name) cut at \(part)") {
                try await withFile(cut) { _ = try await processor.process($0, format) }
            }
        }
    }

    @Test func `a header that promises too many pixels is refused before decoding`() async throws {
        let bomb = try pngBomb(width: 60_000, height: 60_000)

        await #expect(throws: ImageRefusal.tooManyPixels) {
            try await withFile(bomb) { _ = try await processor.process($0, .png) }
        }
    }

    @Test func `an animation with too many pixels in all frames is refused`() async throws {
        let gif = gifOfManyFrames(side: 4_000, frames: 20)

        await #expect(throws: ImageRefusal.animationTooLarge) {
            try await withFile(gif) { _ = try await processor.process($0, .gif) }
        }
    }

    @Test(arguments: 0..<200) func `damaged files are refused or taken, and never crash`(
        seed: Int
    ) async throws {
        let names = [
            "gps.jpg", "location.png", "location.webp", "location.heic", "moving.gif",
            "palette.png",
        ]
        var bytes = [UInt8](
            try Data(contentsOf: URL(fileURLWithPath: fixture(names[seed % names.count])))
        )
        let format = try #require(ImageFormat(prefix: bytes))
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        for _ in 0..<8 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            bytes[12 + Int(state >> 33) % (bytes.count - 12)] = UInt8(
                truncatingIfNeeded: state >> 17
            )
        }

        do {
            _ = try await withFile(bytes) { try await processor.process($0, format) }
        } catch is ImageRefusal {
            // One of the two is what must happen.
        }
    }

    // MARK: Files

    private func process(_ name: String) async throws -> ProcessedImage {
        let path = fixture(name)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        let format = try #require(ImageFormat(prefix: bytes))
        return try await processor.process(path, format)
    }
}
