/// Header fields that many answers share, checked and rendered once.
///
/// An answer that sets a field of the same name itself keeps its own.
package final class HeaderDefaults: Sendable {
    private let fields: [(name: String, line: [UInt8])]
    private let block: [UInt8]
    /// The lengths of the names, one bit each: most fields of an answer differ from all in length already.
    private let lengths: UInt64

    package init(_ headers: Headers) {
        fields = headers.fields.map { ($0.name, Array("\($0.name): \($0.value)\r\n".utf8)) }
        block = fields.flatMap(\.line)
        lengths = fields.reduce(0) { $0 | 1 << UInt64($1.name.utf8.count & 63) }
    }

    func write(beside headers: Headers, to output: OutputBuffer) {
        let mayMeet = headers.fields.contains {
            lengths >> UInt64($0.name.utf8.count & 63) & 1 == 1
        }
        guard mayMeet else { return output.append(block) }
        for field in fields where !headers.has(field.name) { output.append(field.line) }
    }
}
