import Glibc

/// The keys of a settings file, found to refuse those that nobody reads.
///
/// Our files are mappings in mappings, indented by spaces; that is all this understands. Values are the
/// YAML reader's business.
struct FileKeys {
    private let path: String
    private let keys: [(line: Int, key: String)]

    init(path: String) throws(SettingsError) {
        self.path = path
        guard let file = fopen(path, "re") else { throw SettingsError("\(path): cannot be opened") }
        defer { fclose(file) }
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 {
            text.append(contentsOf: chunk[..<count])
        }
        keys = Self.keys(in: String(decoding: text, as: UTF8.self))
    }

    static func keys(in text: String) -> [(line: Int, key: String)] {
        var open: [(indent: Int, name: String)] = []
        var keys: [(line: Int, key: String)] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            let content = line.drop { $0 == " " }
            guard let colon = content.firstIndex(of: ":"), content.first != "#",
                content.first != "-"
            else { continue }
            let indent = line.count - content.count
            open.removeAll { $0.indent >= indent }
            let name = String(content[..<colon])
            let value = content[content.index(after: colon)...].drop { $0 == " " }
            let full = (open.map(\.name) + [name]).joined(separator: ".")
            if value.isEmpty || value.first == "#" {
                open.append((indent, name))
            } else {
                keys.append((number + 1, full))
            }
        }
        return keys
    }

    func check(against settings: [Setting]) throws(SettingsError) {
        let known = Set(settings.map(\.key))
        for (line, key) in keys where !known.contains(key) {
            throw SettingsError("\(path):\(line): unknown setting \(key); --help lists all")
        }
    }
}
