import Glibc

/// A file with one secret, such as a password.
package enum SecretFile {
    private static let limitBytes = 65_536

    /// All of it.
    package static func text(_ path: String) throws(SettingsError) -> String {
        guard let file = fopen(path, "re") else {
            throw SettingsError("\(path): \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: limitBytes)
        let count = fread(&bytes, 1, bytes.count, file)
        guard ferror(file) == 0, let text = String(validating: bytes[..<count], as: UTF8.self)
        else { throw SettingsError("\(path): cannot be read as text") }
        return text
    }

    /// The first line; nil where no file is named.
    ///
    /// Throws for an empty file, which is a password that somebody forgot to write.
    package static func password(_ path: String) throws(SettingsError) -> String? {
        guard !path.isEmpty else { return nil }
        guard let line = try text(path).split(whereSeparator: \.isNewline).first else {
            throw SettingsError("\(path): is empty")
        }
        return String(line)
    }
}
