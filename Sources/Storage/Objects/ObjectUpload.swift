import Glibc

/// An object that is being written; nobody sees it before ``commit(as:)``.
///
/// One task uses it, one call after the other. What is neither committed nor abandoned is removed with the value.
package final class ObjectUpload: @unchecked Sendable {
    // @unchecked: one task at a time; the threads of the offload get the descriptor by value.

    /// Pieces gather to this size before they are written.
    package static let writeSize = 256 << 10

    /// Where the bytes are until the end, for programs and libraries that read files.
    package let path: String

    /// How many bytes were written.
    package private(set) var count = 0

    private let store: DirectoryStore
    private let limit: Int
    private var descriptor: Int32
    private var gathered: [UInt8] = []

    init(store: DirectoryStore, path: String, descriptor: Int32, limit: Int) {
        self.store = store
        self.path = path
        self.descriptor = descriptor
        self.limit = limit
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        unlink(path)
    }

    /// Appends a piece; throws ``ObjectError/tooLarge(limit:)`` beyond the bound.
    package func write(_ piece: [UInt8]) async throws {
        guard count + piece.count <= limit else { throw ObjectError.tooLarge(limit: limit) }
        count += piece.count
        if gathered.isEmpty { gathered = piece } else { gathered += piece }
        if gathered.count >= ObjectUpload.writeSize { try await flush() }
    }

    /// Writes out what has gathered, so that all of it can be read at ``path``.
    package func flush() async throws {
        guard !gathered.isEmpty else { return }
        let bytes = gathered
        gathered = []
        let descriptor = descriptor
        try await store.run { try ObjectUpload.writeAll(bytes, to: descriptor) }
    }

    /// Makes the object durable and gives it its name.
    package func commit(as name: ObjectName) async throws {
        try await flush()
        let (store, path, descriptor) = (store, path, descriptor)
        try await store.run {
            guard fsync(descriptor) == 0 else { throw ObjectError.last("fsync") }
            try store.rename(path, to: name)
            close(descriptor)
        }
        self.descriptor = -1
    }

    /// Drops what was written.
    package func abandon() async {
        guard descriptor >= 0 else { return }
        let (path, descriptor) = (path, descriptor)
        self.descriptor = -1
        let remove: @Sendable () -> Void = {
            close(descriptor)
            unlink(path)
        }
        do {
            try await store.run(remove)
        } catch {
            // The queue is full or the task is cancelled: two quick calls on this thread are better than a leak.
            remove()
        }
    }

    private static func writeAll(_ bytes: [UInt8], to descriptor: Int32) throws {
        try bytes.withUnsafeBytes { buffer in
            var sent = 0
            while sent < buffer.count {
                let wrote = Glibc.write(descriptor, buffer.baseAddress! + sent, buffer.count - sent)
                if wrote < 0 {
                    if errno == EINTR { continue }
                    throw ObjectError.last("write")
                }
                sent += wrote
            }
        }
    }
}
