import Glibc

/// Makes a new folder of its own below the temporary folder, short enough for a socket inside it.
package func makeFolder() throws -> String {
    var template = Array("/tmp/tessera-test.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw TestSupportError("mkdtemp: \(errno)") }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Removes a folder that holds files only; a server's folder is removed by its guardian.
package func removeFolder(_ path: String) {
    guard let listing = opendir(path) else { return }
    while let entry = readdir(listing) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != "." && name != ".." { unlink("\(path)/\(name)") }
    }
    closedir(listing)
    rmdir(path)
}

package func writeText(_ text: String, to path: String) throws {
    guard let file = fopen(path, "we") else { throw TestSupportError("\(path): \(errno)") }
    defer { fclose(file) }
    guard fwrite(text, 1, text.utf8.count, file) == text.utf8.count else {
        throw TestSupportError("\(path): \(errno)")
    }
}

package func readText(_ path: String) -> String? {
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = fread(&block, 1, block.count, file)
        guard count > 0 else { break }
        bytes += block[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}

/// The checkout's root, for tests that read sources or migrations.
package let packageRoot: String = {
    let parts = #filePath.split(separator: "/").dropLast(3)
    return "/" + parts.joined(separator: "/")
}()
