import Crypto
import Glibc

/// One numbered step of a module's schema, such as `Jobs/Migrations/m0002_lease.sql`.
package struct MigrationFile: Sendable, Equatable {
    package let module: String
    package let number: Int
    package let name: String
    package let sql: String

    /// Of the file's bytes; a file that has run is never edited.
    package let checksum: String

    package init(module: String, number: Int, name: String, sql: String) {
        self.module = module
        self.number = number
        self.name = name
        self.sql = sql
        checksum = Digest.sha256(sql).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }

    package var label: String { "\(module)/\(name)" }

    /// A file is never larger.
    package static let sizeLimit = 1 << 20

    /// Reads `DIR/**/<Module>/Migrations/mNNNN_*.sql`, in the order in which they run: module `Database`,
    /// then the storage modules, then the others, each by name, and its files by number.
    package static func load(from directory: String) throws(MigrationError) -> [MigrationFile] {
        guard let listing = opendir(directory) else {
            throw MigrationError("cannot read the folder \(directory)")
        }
        closedir(listing)
        var found: [(path: String, file: MigrationFile)] = []
        for path in files(in: directory, depth: 0) {
            if let file = try read(path) { found.append((path, file)) }
        }
        found.sort { order($0) < order($1) }
        for (one, next) in zip(found, found.dropFirst())
        where one.file.module == next.file.module && one.file.number == next.file.number {
            throw MigrationError("\(one.path) and \(next.path) have the same number")
        }
        guard found.contains(where: { $0.file.module == "Database" }) else {
            throw MigrationError(
                "\(directory) has no Database/Migrations; give the folder of all modules"
            )
        }
        return found.map(\.file)
    }

    /// Reads one file if its path is that of a migration.
    private static func read(_ path: String) throws(MigrationError) -> MigrationFile? {
        let parts = path.split(separator: "/")
        guard parts.count >= 3, parts[parts.count - 2] == "Migrations", path.hasSuffix(".sql")
        else {
            return nil
        }
        let name = parts[parts.count - 1].dropLast(4)
        let digits = name.dropFirst().prefix { $0 != "_" }
        guard name.hasPrefix("m"), digits.count == 4, let number = Int(digits), number > 0,
            name.dropFirst(5).hasPrefix("_")
        else { throw MigrationError("\(path): a migration is named mNNNN_what.sql") }
        guard let file = fopen(path, "re") else { throw MigrationError("cannot read \(path)") }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: sizeLimit + 1)
        let count = fread(&bytes, 1, bytes.count, file)
        guard count <= sizeLimit else { throw MigrationError("\(path) is too large") }
        guard let sql = String(validating: bytes[..<count], as: UTF8.self) else {
            throw MigrationError("\(path) is not UTF-8")
        }
        return MigrationFile(
            module: String(parts[parts.count - 3]),
            number: number,
            name: String(name),
            sql: sql
        )
    }

    private static func order(_ found: (path: String, file: MigrationFile)) -> (Int, String, Int) {
        let layer = found.file.module == "Database" ? 0 : found.path.contains("/Storage/") ? 1 : 2
        return (layer, found.file.module, found.file.number)
    }

    private static func files(in folder: String, depth: Int) -> [String] {
        guard depth < 8, let listing = opendir(folder) else { return [] }
        defer { closedir(listing) }
        var paths: [String] = []
        while let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard !name.hasPrefix(".") else { continue }
            if entry.pointee.d_type == DT_DIR {
                paths += files(in: "\(folder)/\(name)", depth: depth + 1)
            } else {
                paths.append("\(folder)/\(name)")
            }
        }
        return paths
    }
}

/// Why migrations cannot be read, or must not run.
package struct MigrationError: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// What of a set of files still has to run on one shard, decided from what ran there before.
package enum MigrationPlan {
    package struct Record: Sendable, Equatable {
        package let module: String
        package let number: Int
        package let name: String
        package let checksum: String

        package init(module: String, number: Int, name: String, checksum: String) {
            self.module = module
            self.number = number
            self.name = name
            self.checksum = checksum
        }
    }

    /// The files to run, in order.
    ///
    /// A record without a file is left alone: a newer version of the product ran it, and this older one may
    /// still be used beside it. An edited file, or a new one numbered below one that ran, is refused.
    package static func pending(
        _ files: [MigrationFile],
        recorded: [Record]
    ) throws(MigrationError) -> [MigrationFile] {
        var pending: [MigrationFile] = []
        for file in files {
            let mine = recorded.filter { $0.module == file.module }
            if let ran = mine.first(where: { $0.number == file.number }) {
                guard ran.checksum == file.checksum else {
                    throw MigrationError(
                        "\(file.label) has changed since it ran; restore it and add a new file instead"
                    )
                }
            } else if let later = mine.first(where: { $0.number > file.number }) {
                throw MigrationError(
                    "\(file.label) is new, but \(later.module)/\(later.name) has already run; "
                        + "give it a higher number"
                )
            } else {
                pending.append(file)
            }
        }
        return pending
    }
}
