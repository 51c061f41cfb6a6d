/// The frame that stored maps have in common: a first line which names form and version, lines of words, and a last line
/// with a checksum of all before it.
struct SealedText {
    /// Those between the first and the last.
    let lines: ArraySlice<Substring>

    struct Fault: Error {
        let description: String
    }

    /// `form` is `tessera-map 1`.
    static func seal(_ lines: [String], as form: String) -> String {
        let body = ([form] + lines).joined(separator: "\n") + "\n"
        return body + "end \(checksum(body))\n"
    }

    /// Refuses a text that is longer than `limit` bytes, torn, altered, or of another form.
    init(_ text: String, form: String, limit: Int) throws(Fault) {
        guard text.utf8.count <= limit else { throw Fault(description: "the text is too long") }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count >= 3, lines.last == "", lines[lines.count - 2].hasPrefix("end ") else {
            throw Fault(description: "the text is cut off")
        }
        guard lines[0] == form else {
            throw Fault(description: "'\(lines[0].prefix(32))' is not \(form)")
        }
        let body = lines.dropLast(2).joined(separator: "\n") + "\n"
        guard lines[lines.count - 2] == "end \(Self.checksum(body))" else {
            throw Fault(description: "the checksum does not match")
        }
        self.lines = lines[1..<(lines.count - 2)]
    }

    private static func checksum(_ body: String) -> String {
        String(SipHash.checksum.hash(body.utf8), radix: 16)
    }
}

/// `0-255,300` for ascending numbers.
func rangesText(_ numbers: [Int]) -> String {
    var runs: [ClosedRange<Int>] = []
    for number in numbers {
        if let last = runs.last, last.upperBound + 1 == number {
            runs[runs.count - 1] = last.lowerBound...number
        } else {
            runs.append(number...number)
        }
    }
    return runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
        .joined(separator: ",")
}

/// Reads what ``rangesText(_:)`` writes; nil for anything else, and for a number that is not below `count`.
func parsedRanges(_ text: Substring, below count: Int) -> [Int]? {
    var numbers: [Int] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
        let ends = part.split(separator: "-", maxSplits: 1).map { Int($0) }
        guard let low = ends.first ?? nil, let high = ends.last ?? nil, low <= high, low >= 0,
            high < count
        else { return nil }
        numbers += low...high
    }
    return numbers
}
