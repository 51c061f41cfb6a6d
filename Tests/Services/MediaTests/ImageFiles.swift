import Foundation
import Testing

@testable import Media

/// The path of a file in `Fixtures`.
func fixture(_ name: String) -> String {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    return folder.appendingPathComponent("Fixtures/\(name)").path
}

/// Hands `body` the path of a temporary file with these bytes.
@discardableResult
func withFile<T>(_ bytes: [UInt8], _ body: (String) throws -> T) rethrows -> T {
    let path = temporaryPath()
    #expect(FileManager.default.createFile(atPath: path, contents: Data(bytes)))
    defer { unlink(path) }
    return try body(path)
}

@discardableResult
func withFile<T>(_ bytes: [UInt8], _ body: (String) async throws -> T) async rethrows -> T {
    let path = temporaryPath()
    #expect(FileManager.default.createFile(atPath: path, contents: Data(bytes)))
    defer { unlink(path) }
    return try await body(path)
}

private func temporaryPath() -> String {
    "\(NSTemporaryDirectory())/tessera-media-\(UInt64.random(in: 0 ... .max))"
}

/// The colours near the corners of a picture of four quarters.
struct Corners: CustomStringConvertible {
    let colours: [[Int]]

    init(_ bytes: [UInt8]) throws {
        let picture = try withFile(bytes) { try Picture.load($0, box: (4096, 4096)) }
        let rgb = try picture.rgb()
        let (width, height) = (picture.width, picture.height)
        colours = [
            (width / 8, height / 8), (width * 7 / 8, height / 8), (width / 8, height * 7 / 8),
            (width * 7 / 8, height * 7 / 8),
        ].map { x, y in
            let index = (y * width + x) * 3
            return rgb[index..<index + 3].map(Int.init)
        }
    }

    /// Red, green, blue and white, as `make.py` paints them.
    var isUpright: Bool { isUpright(tolerance: 70) }

    func isUpright(tolerance: Int) -> Bool {
        let wanted = [[220, 20, 20], [20, 180, 20], [20, 20, 220], [255, 255, 255]]
        return zip(colours, wanted).allSatisfy { got, want in
            zip(got, want).allSatisfy { abs($0 - $1) < tolerance }
        }
    }

    var description: String { "\(colours)" }
}

/// The blocks of a file that are not the picture itself, found by walking through its format.
struct MetadataBlocks {
    private(set) var unexpected: [String] = []

    init(_ bytes: [UInt8]) throws {
        switch ImageFormat(prefix: bytes) {
        case .jpeg: readJPEG(bytes)
        case .png: readPNG(bytes)
        case .webp: readWebP(bytes)
        case .gif: readGIF(bytes)
        case .heif, nil: unexpected.append("not one of our formats")
        }
    }

    private mutating func readJPEG(_ bytes: [UInt8]) {
        var index = 2
        while index + 4 <= bytes.count, bytes[index] == 0xFF {
            let marker = bytes[index + 1]
            if marker == 0xDA { break }
            let length = Int(bytes[index + 2]) << 8 | Int(bytes[index + 3])
            // APP0 is the JFIF header; APP1 to APP15 and COM say things about the picture.
            if (0xE1...0xEF).contains(marker) || marker == 0xFE {
                unexpected.append("marker \(String(marker, radix: 16))")
            }
            index += 2 + length
        }
        if bytes.suffix(2) != [0xFF, 0xD9] { unexpected.append("bytes after the end") }
    }

    private mutating func readPNG(_ bytes: [UInt8]) {
        let plain = ["IHDR", "PLTE", "tRNS", "IDAT", "IEND", "pHYs", "bKGD"]
        var index = 8
        while index + 12 <= bytes.count {
            let length = bytes[index..<index + 4].reduce(0) { $0 << 8 | Int($1) }
            let name = String(decoding: bytes[index + 4..<index + 8], as: UTF8.self)
            if !plain.contains(name) { unexpected.append(name) }
            index += 12 + length
        }
    }

    private mutating func readWebP(_ bytes: [UInt8]) {
        let plain = ["VP8 ", "VP8L", "VP8X", "ALPH", "ANIM", "ANMF"]
        var index = 12
        while index + 8 <= bytes.count {
            let name = String(decoding: bytes[index..<index + 4], as: UTF8.self)
            let length = bytes[index + 4..<index + 8].reversed().reduce(0) { $0 << 8 | Int($1) }
            if !plain.contains(name) { unexpected.append(name) }
            index += 8 + length + length % 2
        }
    }

    private mutating func readGIF(_ bytes: [UInt8]) {
        let text = String(decoding: bytes, as: UTF8.self)
        if text.contains("XMP DataXMP") { unexpected.append("XMP") }
    }
}

/// A valid PNG header of any size, with next to no pixels behind it.
func pngBomb(width: Int, height: Int) throws -> [UInt8] {
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: fixture("palette.png"))))
    for (offset, value) in [(16, width), (20, height)] {
        for byte in 0..<4 { bytes[offset + byte] = UInt8(value >> (24 - 8 * byte) & 0xFF) }
    }
    let sum = crc32(bytes[12..<29])
    for byte in 0..<4 { bytes[29 + byte] = UInt8(sum >> UInt32(24 - 8 * byte) & 0xFF) }
    return bytes
}

private func crc32(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(0xFFFF_FFFF as UInt32) { sum, byte in
        (0..<8).reduce(sum ^ UInt32(byte)) { sum, _ in
            sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1
        }
    }
}

/// A GIF whose frames state a large size and hold one pixel each.
func gifOfManyFrames(side: Int, frames: Int) -> [UInt8] {
    let size = [UInt8(side & 0xFF), UInt8(side >> 8)]
    var bytes = Array("GIF89a".utf8) + size + size + [0x80, 0, 0, 0, 0, 0, 255, 255, 255]
    for _ in 0..<frames {
        bytes += [0x21, 0xF9, 4, 0, 5, 0, 0, 0]
        bytes += [0x2C, 0, 0, 0, 0] + size + size + [0, 2, 2, 0x44, 1, 0]
    }
    return bytes + [0x3B]
}
