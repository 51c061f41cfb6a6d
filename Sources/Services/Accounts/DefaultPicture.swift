internal import HTTP
internal import ServiceKit

/// The pictures of those who have chosen none: four tiles, as PNG.
enum DefaultPicture {
    static let avatarPath = "/avatars/original/missing.png"
    static let headerPath = "/headers/original/missing.png"

    static var endpoints: [Endpoint] {
        [
            endpoint(avatarPath, "getDefaultAvatar", "The picture of who has none.", avatar),
            endpoint(headerPath, "getDefaultHeader", "The wide picture of who has none.", header),
        ]
    }

    private static func endpoint(
        _ path: String,
        _ operationID: String,
        _ summary: String,
        _ bytes: [UInt8]
    ) -> Endpoint {
        Endpoint(
            .get,
            path,
            operationID: operationID,
            summary: summary,
            tag: "accounts",
            access: .open,
            output: .content("image/png")
        ) { _ in
            var response = Response(contentType: "image/png", bytes)
            response.headers["Cache-Control"] = "public, max-age=86400"
            return response
        }
    }

    // MARK: Pixels

    static let avatar = tiles(width: 240, height: 240)
    static let header = tiles(width: 1_500, height: 500)

    /// Soft versions of the colours of the logo.
    private static let palette: [UInt8] = [
        0x9A, 0xC5, 0xC1, 0xF7, 0xD9, 0xA3, 0xEC, 0xA8, 0xC8, 0xA6, 0xBE, 0xF3,
    ]

    private static func tiles(width: Int, height: Int) -> [UInt8] {
        let tile = 60
        var rows: [UInt8] = []
        for y in 0..<height {
            rows.append(0)
            // Two bits a pixel, four pixels a byte.
            for x in stride(from: 0, to: width, by: 4) {
                var packed: UInt8 = 0
                for step in 0..<4 {
                    let colour =
                        ((x + step) / tile * 3 + y / tile * 5 + (y / tile) * (y / tile)) % 4
                    packed = packed << 2 | UInt8(colour)
                }
                rows.append(packed)
            }
        }
        let head = bigEndian(width) + bigEndian(height) + [2, 3, 0, 0, 0]
        return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] + chunk("IHDR", head)
            + chunk("PLTE", palette) + chunk("IDAT", stored(rows)) + chunk("IEND", [])
    }

    /// A zlib stream that compresses nothing: blocks of at most 65,535 bytes as they are.
    private static func stored(_ bytes: [UInt8]) -> [UInt8] {
        var stream: [UInt8] = [0x78, 0x01]
        var start = 0
        while start < bytes.count {
            let end = min(start + 65_535, bytes.count)
            let count = UInt16(end - start)
            stream.append(end == bytes.count ? 1 : 0)
            for half in [count, ~count] {
                stream.append(UInt8(truncatingIfNeeded: half))
                stream.append(UInt8(truncatingIfNeeded: half >> 8))
            }
            stream += bytes[start..<end]
            start = end
        }
        var a: UInt32 = 1
        var b: UInt32 = 0
        for byte in bytes {
            a = (a + UInt32(byte)) % 65_521
            b = (b + a) % 65_521
        }
        return stream + bigEndian(Int(b << 16 | a))
    }

    private static func chunk(_ kind: String, _ data: [UInt8]) -> [UInt8] {
        let named = Array(kind.utf8) + data
        var check: UInt32 = 0xFFFF_FFFF
        for byte in named {
            check ^= UInt32(byte)
            for _ in 0..<8 { check = check & 1 == 1 ? check >> 1 ^ 0xEDB8_8320 : check >> 1 }
        }
        return bigEndian(data.count) + named + bigEndian(Int(check ^ 0xFFFF_FFFF))
    }

    private static func bigEndian(_ value: Int) -> [UInt8] {
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: value).bigEndian) { Array($0) }
    }
}
