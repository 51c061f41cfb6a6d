import CZlib

/// Compresses pieces of one file into pieces of a gzip file.
///
/// The same pieces give the same bytes: neither the time nor a name is part of them.
final class GzipStream: @unchecked Sendable {
    // @unchecked: one task uses it, one call after the other, whichever thread that is on.

    private static let level: Int32 = 6
    private static let chunk = 64 << 10

    private var stream = z_stream()

    init() {
        let status = tessera_deflate_begin(&stream, Self.level)
        precondition(status == Z_OK, "deflateInit2: \(status)")
    }

    deinit { deflateEnd(&stream) }

    /// Takes a piece; gives what is ready by now. With `finish` it gives the rest, and takes no more.
    func compress(_ piece: [UInt8], finish: Bool = false) -> [UInt8] {
        var out: [UInt8] = []
        var piece = piece
        // zlib reads the piece and writes into the buffer during the calls only; neither pointer is kept beyond.
        piece.withUnsafeMutableBufferPointer { source in
            stream.next_in = source.baseAddress
            stream.avail_in = UInt32(source.count)
            var isFull = true
            while isFull {
                let part = [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, count in
                    stream.next_out = buffer.baseAddress
                    stream.avail_out = UInt32(buffer.count)
                    let status = deflate(&stream, finish ? Z_FINISH : Z_NO_FLUSH)
                    precondition(status != Z_STREAM_ERROR, "deflate after its end")
                    count = buffer.count - Int(stream.avail_out)
                }
                isFull = part.count == Self.chunk
                out += part
            }
        }
        return out
    }
}
