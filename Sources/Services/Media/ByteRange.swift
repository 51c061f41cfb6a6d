/// What a `Range` header asks of something with a known length (RFC 9110 section 14).
enum ByteRange: Equatable {
    /// No range, several, or one that is not understood: all of it is sent.
    case whole
    case part(Range<Int>)
    case unsatisfiable

    init(_ header: String?, length: Int) {
        self = header.flatMap { ByteRange.parse($0, length: length) } ?? .whole
    }

    private static func parse(_ header: String, length: Int) -> ByteRange? {
        let parts = header.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].lowercased() == "bytes" else { return nil }
        let bounds = parts[1].split(separator: "-", omittingEmptySubsequences: false)
        guard bounds.count == 2 else { return nil }
        let (first, last) = (number(bounds[0]), number(bounds[1]))
        switch (first, last) {
        case (.absent, .number(let count)):
            guard count > 0, length > 0 else { return .unsatisfiable }
            return .part(max(0, length - count)..<length)
        case (.number(let first), .absent):
            return first < length ? .part(first..<length) : .unsatisfiable
        case (.number(let first), .number(let last)):
            guard first <= last else { return nil }
            return first < length ? .part(first..<min(last, length - 1) + 1) : .unsatisfiable
        default:
            return nil
        }
    }

    private enum Bound {
        case absent
        case number(Int)
        case malformed
    }

    private static func number(_ text: Substring) -> Bound {
        let trimmed = text.utf8.filter { $0 != UInt8(ascii: " ") }
        guard !trimmed.isEmpty else { return .absent }
        guard trimmed.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return .malformed
        }
        // A number beyond Int is beyond every file as well.
        return .number(Int(String(decoding: trimmed, as: UTF8.self)) ?? .max)
    }
}
