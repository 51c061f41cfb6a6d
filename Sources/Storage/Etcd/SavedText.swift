import Glibc

/// A text on a process's own disk: written beside its place, flushed, and renamed into it, so that a crash leaves
/// the old one or the new one. Both calls block on the disk.
package struct SavedText: Sendable {
    package let path: String

    /// A longer one is cut off, and refused by whatever reads it.
    package let limitBytes: Int

    package init(path: String, limitBytes: Int) {
        self.path = path
        self.limitBytes = limitBytes
    }

    /// Why it cannot be read or written.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Nil when there is none yet.
    package func load() throws(Failure) -> String? {
        guard let file = fopen(path, "re") else {
            if errno == ENOENT { return nil }
            throw failure("read")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: limitBytes + 1)
        let count = fread(&bytes, 1, bytes.count, file)
        guard ferror(file) == 0 else { throw failure("read") }
        guard let text = String(validating: bytes[..<count], as: UTF8.self) else {
            throw Failure(description: "\(path) is not a text")
        }
        return text
    }

    package func save(_ text: String) throws(Failure) {
        let beside = "\(path).new"
        guard let file = fopen(beside, "we") else { throw failure("write") }
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
