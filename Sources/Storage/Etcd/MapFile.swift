import Glibc
package import Sharding

/// The copy of the map on a node's own disk, from which it starts when etcd is down.
///
/// Written beside its place, flushed, and renamed into it, so that a crash leaves the old copy or the new one;
/// the text's own checksum finds whatever else may go wrong. Both calls block on the disk.
package struct MapFile: Sendable {
    package let path: String

    package init(path: String) {
        self.path = path
    }

    /// Why the copy cannot be used.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Nil when there is no copy yet.
    package func load() throws -> ShardMap? {
        guard let file = fopen(path, "re") else {
            if errno == ENOENT { return nil }
            throw failure("read")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: ShardMap.textLimit + 1)
        let count = fread(&bytes, 1, bytes.count, file)
        guard ferror(file) == 0 else { throw failure("read") }
        guard let text = String(validating: bytes[..<count], as: UTF8.self) else {
            throw Failure(description: "\(path) is not a map")
        }
        do {
            return try ShardMap(text: text)
        } catch {
            throw Failure(description: "\(path): \(error)")
        }
    }

    package func save(_ map: ShardMap) throws {
        let beside = "\(path).new"
        guard let file = fopen(beside, "we") else { throw failure("write") }
        let text = map.text
        let written = fwrite(text, 1, text.utf8.count, file)
        let flushed = fflush(file) == 0 && fsync(fileno(file)) == 0
        guard fclose(file) == 0, flushed, written == text.utf8.count else { throw failure("write") }
        guard rename(beside, path) == 0 else { throw failure("rename") }
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let descriptor = open(folder.isEmpty ? "/" : folder, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open the folder of") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("flush the folder of") }
    }

    private func failure(_ verb: String) -> Failure {
        Failure(description: "cannot \(verb) \(path): \(String(cString: strerror(errno)))")
    }
}
