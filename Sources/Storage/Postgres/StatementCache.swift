import Glibc

/// A statement that one connection has prepared, or is about to have.
final class PreparedStatement {
    let name: String
    let types: [PostgresType]
    let key: StatementText
    /// The name as C reads it, so that a send needs no conversion.
    let cName: UnsafeMutablePointer<CChar>
    /// Why the server refused to prepare it: the answer for every query that was sent after it.
    var refusal: DatabaseError?
    fileprivate(set) var lastUse: UInt64 = 0

    fileprivate init(number: Int, key: StatementText, types: [PostgresType]) {
        name = "t\(number)"
        self.key = key
        self.types = types
        let bytes = name.utf8CString
        cName = .allocate(capacity: bytes.count)
        bytes.withUnsafeBufferPointer {
            cName.initialize(from: $0.baseAddress!, count: bytes.count)
        }
    }

    deinit {
        cName.deallocate()
    }

    fileprivate func fits(_ bindings: Bindings) -> Bool {
        guard bindings.count == types.count else { return false }
        for index in types.indices where bindings.specs[index].type != types[index] { return false }
        return true
    }
}

/// The prepared statements of one connection, found by text, bounded, least recently used out first.
///
/// A value without I/O: ``find(_:)`` says what must be prepared and what must be deallocated.
struct StatementCache {
    enum Found {
        case prepared(PreparedStatement)
        case new(PreparedStatement, evicted: PreparedStatement?)
    }

    private let limit: Int
    private var byText: [StatementText: PreparedStatement] = [:]
    private var made = 0
    private var clock: UInt64 = 1

    init(limit: Int) {
        self.limit = limit
    }

    var count: Int { byText.count }

    /// Begins a group of statements that are sent together and therefore do not evict one another.
    mutating func beginGroup() { clock += 1 }

    mutating func find(_ sql: SQL) -> Found {
        let text = StatementText(sql.utf8)
        if let known = byText[text], known.fits(sql.bindings) {
            known.lastUse = clock
            return .prepared(known)
        }
        return findRare(sql, text)
    }

    /// A text that is new here, or that is used with other types than it was first.
    private mutating func findRare(_ sql: SQL, _ text: StatementText) -> Found {
        let types = sql.bindings.specs.map(\.type)
        var key = text
        if byText[key] != nil {
            let suffix = "\0" + types.map { String($0.oid) }.joined(separator: ",")
            key = StatementText(sql.utf8 + suffix.utf8)
            if let known = byText[key] {
                known.lastUse = clock
                return .prepared(known)
            }
        }
        let evicted = byText.count >= limit ? evict() : nil
        made += 1
        let statement = PreparedStatement(number: made, key: key, types: types)
        statement.lastUse = clock
        byText[key] = statement
        return .new(statement, evicted: evicted)
    }

    /// Takes a statement out that the server does not have, or not as it was.
    mutating func forget(_ statement: PreparedStatement) {
        if byText[statement.key] === statement { byText[statement.key] = nil }
    }

    private mutating func evict() -> PreparedStatement? {
        // A scan, since an eviction also costs the server a parse. What this group uses stays, above the
        // limit if it must.
        let oldest = byText.values.min { $0.lastUse < $1.lastUse }
        guard let oldest, oldest.lastUse < clock else { return nil }
        byText[oldest.key] = nil
        return oldest
    }
}

/// A statement's text as a key, with a hash that costs a step for eight bytes.
///
/// Texts are the program's own, so that nobody can choose them to collide.
struct StatementText: Hashable {
    private let utf8: [UInt8]
    private let digest: UInt64

    init(_ utf8: [UInt8]) {
        self.utf8 = utf8
        digest = utf8.withUnsafeBytes { bytes in
            var digest = UInt64(bytes.count)
            var index = 0
            while index + 8 <= bytes.count {
                StatementText.mix(
                    bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self),
                    &digest
                )
                index += 8
            }
            while index < bytes.count {
                StatementText.mix(UInt64(bytes[index]), &digest)
                index += 1
            }
            return digest
        }
    }

    @inline(__always)
    private static func mix(_ word: UInt64, _ digest: inout UInt64) {
        digest = (digest << 5 | digest >> 59) ^ word
        digest = digest &* 0x9E37_79B9_7F4A_7C15
    }

    static func == (one: StatementText, other: StatementText) -> Bool {
        one.digest == other.digest && one.utf8.count == other.utf8.count
            && memcmp(one.utf8, other.utf8, one.utf8.count) == 0
    }

    func hash(into hasher: inout Hasher) { hasher.combine(digest) }
}
