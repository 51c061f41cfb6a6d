/// Walks through a GIF's blocks without decoding them.
///
/// libnsgif, which libvips reads GIFs with, takes what it finds of a file that was cut; we refuse it.
struct GIFBlocks {
    /// Whether the file ends where a block ends.
    private(set) var isComplete = false
    private(set) var frames = 0

    init(_ bytes: [UInt8]) {
        var reader = Reader(bytes: bytes, index: 13)
        guard bytes.count >= 13 else { return }
        reader.skipColours(flags: bytes[10])
        while let block = reader.next() {
            switch block {
            case 0x3B:
                isComplete = true
                return
            case 0x21:
                _ = reader.next()
                reader.skipChain()
            case 0x2C:
                frames += 1
                reader.skip(8)
                reader.skipColours(flags: reader.next() ?? 0)
                reader.skip(1)
                reader.skipChain()
            default:
                // Some writers leave filling bytes after the last block, instead of the end mark.
                isComplete = frames > 0
                return
            }
        }
        // Without the end mark, but not in the middle of a block: some writers forget it.
        isComplete = frames > 0 && reader.index == bytes.count
    }

    private struct Reader {
        let bytes: [UInt8]
        var index: Int

        mutating func next() -> UInt8? {
            guard index < bytes.count else { return nil }
            index += 1
            return bytes[index - 1]
        }

        mutating func skip(_ count: Int) { index += count }

        mutating func skipColours(flags: UInt8) {
            if flags & 0x80 != 0 { skip(3 << (Int(flags & 7) + 1)) }
        }

        /// Sub-blocks up to the empty one; a missing end leaves the index beyond the file.
        mutating func skipChain() {
            while let length = next() {
                if length == 0 { return }
                skip(Int(length))
            }
            index = bytes.count + 1
        }
    }
}
