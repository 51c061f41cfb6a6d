import EventLoops
import Glibc

/// Objects as files below one folder, which several processes of a machine may share.
///
/// An object appears as a whole or not at all: it is written under a temporary name, synced, and then renamed, and
/// the folder is synced before ``put(_:_:)`` returns. All file work runs on the threads of an `Offload`,
/// whose queue is the bound: beyond it calls throw ``ObjectError/overloaded``.
package struct DirectoryStore: Sendable {
    /// Temporary files older than this belong to a process that died.
    package static let leftoverAge = Duration.seconds(3_600)

    package let root: String
    private let offload: Offload

    /// Opens the store, and makes its folders where they are missing.
    package init(root: String, offload: Offload) throws(ObjectError) {
        self.root = root
        self.offload = offload
        for folder in [root, "\(root)/objects", "\(root)/temporary"] {
            try DirectoryStore.makeFolder(folder)
        }
    }

    // MARK: Writing

    /// Stores `bytes` under `name` in place of what was there.
    package func put(_ name: ObjectName, _ bytes: [UInt8]) async throws {
        let upload = try await begin(limit: bytes.count)
        do {
            try await upload.write(bytes)
            try await upload.commit(as: name)
        } catch {
            await upload.abandon()
            throw error
        }
    }

    /// Stores a stream of at most `limit` bytes; returns how many there were.
    @discardableResult
    package func put<Bytes: AsyncSequence>(
        _ name: ObjectName,
        stream: Bytes,
        limit: Int
    ) async throws -> Int where Bytes.Element == [UInt8] {
        let upload = try await begin(limit: limit)
        do {
            for try await piece in stream { try await upload.write(piece) }
            try await upload.commit(as: name)
        } catch {
            await upload.abandon()
            throw error
        }
        return upload.count
    }

    /// Begins an object that is written piece by piece and named at its end, or only read and then dropped.
    package func begin(limit: Int) async throws -> ObjectUpload {
        let path = "\(root)/temporary/\(UInt64.random(in: 0 ... .max))-\(getpid())"
        let descriptor = try await run {
            let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o640)
            guard descriptor >= 0 else { throw ObjectError.last("open") }
            return descriptor
        }
        return ObjectUpload(store: self, path: path, descriptor: descriptor, limit: limit)
    }

    /// Removes the object; true if it was there.
    @discardableResult
    package func delete(_ name: ObjectName) async throws -> Bool {
        let path = path(of: name)
        return try await run {
            if unlink(path) == 0 { return true }
            guard errno == ENOENT else { throw ObjectError.last("unlink") }
            return false
        }
    }

    // MARK: Reading

    /// The object, opened: what is read from it stays the same whatever happens to the name.
    package func get(_ name: ObjectName) async throws -> StoredObject? {
        let path = path(of: name)
        let opened = try await run { () -> (Int32, stat)? in
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            if descriptor < 0 {
                guard errno == ENOENT else { throw ObjectError.last("open") }
                return nil
            }
            var status = stat()
            guard fstat(descriptor, &status) == 0 else {
                let error = ObjectError.last("fstat")
                close(descriptor)
                throw error
            }
            return (descriptor, status)
        }
        return opened.map { descriptor, status in
            StoredObject(
                store: self,
                descriptor: descriptor,
                length: Int(status.st_size),
                modified: Int64(status.st_mtim.tv_sec)
            )
        }
    }

    package func exists(_ name: ObjectName) async throws -> Bool {
        let path = path(of: name)
        return try await run {
            if access(path, F_OK) == 0 { return true }
            guard errno == ENOENT else { throw ObjectError.last("access") }
            return false
        }
    }

    // MARK: Upkeep

    /// Removes the temporary files of processes that died; returns how many.
    @discardableResult
    package func collectLeftovers(olderThan age: Duration = leftoverAge) async throws -> Int {
        let folder = "\(root)/temporary"
        let seconds = time_t(age.components.seconds)
        return try await run {
            guard let listing = opendir(folder) else { throw ObjectError.last("opendir") }
            defer { closedir(listing) }
            let limit = time(nil) - seconds
            var removed = 0
            while let entry = readdir(listing) {
                // d_name is a fixed array that ends with a zero byte, inside the entry that readdir keeps.
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                guard !name.hasPrefix(".") else { continue }
                var status = stat()
                let path = "\(folder)/\(name)"
                guard stat(path, &status) == 0, status.st_mtim.tv_sec <= limit else { continue }
                if unlink(path) == 0 { removed += 1 }
            }
            return removed
        }
    }

    // MARK: Inside

    func path(of name: ObjectName) -> String {
        let (outer, inner) = name.folders
        return "\(root)/objects/\(outer)/\(inner)/\(name.fileName)"
    }

    func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        do {
            return try await offload.run(body)
        } catch is Offload.Full {
            throw ObjectError.overloaded
        }
    }

    /// Gives the finished file its name, durably; on a thread of the offload.
    func rename(_ temporary: String, to name: ObjectName) throws {
        let target = path(of: name)
        if Glibc.rename(temporary, target) != 0 {
            guard errno == ENOENT else { throw ObjectError.last("rename") }
            let (outer, inner) = name.folders
            try DirectoryStore.makeFolder("\(root)/objects/\(outer)")
            try DirectoryStore.makeFolder("\(root)/objects/\(outer)/\(inner)")
            guard Glibc.rename(temporary, target) == 0 else { throw ObjectError.last("rename") }
        }
        try DirectoryStore.syncFolder(of: target)
    }

    /// Makes the folder, if it is missing, and syncs the one that it is in.
    private static func makeFolder(_ path: String) throws(ObjectError) {
        if mkdir(path, 0o750) == 0 { return try syncFolder(of: path) }
        guard errno == EEXIST else { throw .last("mkdir \(path)") }
    }

    private static func syncFolder(of path: String) throws(ObjectError) {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let descriptor = open(folder.isEmpty ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last("open \(folder)") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .last("fsync \(folder)") }
    }
}
