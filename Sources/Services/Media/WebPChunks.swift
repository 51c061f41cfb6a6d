/// Takes metadata out of a WebP file.
///
/// libvips 8.14 writes EXIF, XMP and the profile even when it is told to strip (seen here, with the place where
/// a photo was taken); so the chunks are taken out of what it wrote.
enum WebPChunks {
    private static let metadata = ["EXIF", "XMP ", "ICCP"]

    /// The bits of the VP8X header that announce a profile, EXIF and XMP.
    private static let metadataFlags: UInt8 = 0x20 | 0x08 | 0x04

    /// The same file with nothing but the picture; nil if it is no well-formed WebP.
    static func stripped(_ bytes: [UInt8]) -> [UInt8]? {
        guard bytes.count >= 12, bytes.starts(with: "RIFF".utf8),
            bytes[8..<12].elementsEqual("WEBP".utf8)
        else { return nil }
        var kept = Array(bytes[..<12])
        var index = 12
        while index < bytes.count {
            guard index + 8 <= bytes.count else { return nil }
            let name = String(decoding: bytes[index..<index + 4], as: UTF8.self)
            let length = (0..<4).reduce(0) { $0 | Int(bytes[index + 4 + $1]) << (8 * $1) }
            let end = index + 8 + length + length % 2
            guard end <= bytes.count else { return nil }
            if !metadata.contains(name) {
                let start = kept.count
                kept += bytes[index..<end]
                if name == "VP8X", length > 0 { kept[start + 8] &= ~metadataFlags }
            }
            index = end
        }
        for byte in 0..<4 {
            kept[4 + byte] = UInt8(truncatingIfNeeded: (kept.count - 8) >> (8 * byte))
        }
        return kept
    }
}
