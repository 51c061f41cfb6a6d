import Glibc

/// The photos to post, read into memory once.
enum Photos {
    static let most = 32

    struct Unreadable: Error, CustomStringConvertible {
        var path: String
        var code: Int32
        var description: String { "\(path): \(String(cString: strerror(code)))" }
    }

    /// Reads up to ``most`` files that end in `.jpg`, in the order of their names.
    static func read(directory: String) throws(Unreadable) -> [[UInt8]] {
        guard let listing = opendir(directory) else {
            throw Unreadable(path: directory, code: errno)
        }
        defer { closedir(listing) }
        var names: [String] = []
        while let entry = Glibc.readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".jpg") { names.append(name) }
        }
        guard !names.isEmpty else { throw Unreadable(path: directory, code: ENOENT) }
        var photos: [[UInt8]] = []
        for name in names.sorted().prefix(most) {
            photos.append(try contents(of: "\(directory)/\(name)"))
        }
        return photos
    }

    static func contents(of path: String) throws(Unreadable) -> [UInt8] {
        guard let file = fopen(path, "r") else { throw Unreadable(path: path, code: errno) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
        }
    }
}
