import Glibc

/// An object that is open for reading.
package final class StoredObject: Sendable {
    /// How much one read takes at most.
    package static let readSize = 256 << 10

    package let length: Int

    /// When it was stored, in seconds since 1970.
    package let modified: Int64

    private let store: DirectoryStore
    private let descriptor: Int32

    init(store: DirectoryStore, descriptor: Int32, length: Int, modified: Int64) {
        self.store = store
        self.descriptor = descriptor
        self.length = length
        self.modified = modified
    }

    deinit { close(descriptor) }

    /// The bytes of `range`, which must lie within the object; at most ``readSize`` of them.
    package func read(_ range: Range<Int>) async throws -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= length)
        let count = min(range.count, StoredObject.readSize)
        // The closure holds the object, so its descriptor stays open until the read has ended.
        return try await store.run { [self] in
            var offset = 0
            return try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialised in
                while offset < count {
                    let position = off_t(range.lowerBound + offset)
                    let got = pread(
                        descriptor,
                        buffer.baseAddress! + offset,
                        count - offset,
                        position
                    )
                    if got < 0 && errno == EINTR { continue }
                    guard got > 0 else {
                        throw got < 0
                            ? ObjectError.last("pread")
                            : ObjectError.failed(call: "pread", errno: EIO)
                    }
                    offset += got
                }
                initialised = offset
            }
        }
    }

    /// Hands the bytes of `range` to `body`, piece by piece.
    package func stream(
        _ range: Range<Int>,
        _ body: ([UInt8]) async throws -> Void
    ) async throws {
        var next = range.lowerBound
        while next < range.upperBound {
            let piece = try await read(next..<range.upperBound)
            next += piece.count
            try await body(piece)
        }
    }
}
