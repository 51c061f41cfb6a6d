/// Header fields that many answers share, checked and rendered once.
///
/// An answer that sets a field of the same name itself keeps its own.
package final class HeaderDefaults: Sendable {
    private let fields: [(name: String, line: [UInt8])]
    private let block: [UInt8]

    package init(_ headers: Headers) {
        fields = headers.fields.map { ($0.name, Array("\($0.name): \($0.value)\r\n".utf8)) }
        block = fields.flatMap(\.line)
    }

    func write(beside headers: Headers, to output: OutputBuffer) {
        guard fields.contains(where: { headers.has($0.name) }) else { return output.append(block) }
        for field in fields where !headers.has(field.name) { output.append(field.line) }
    }
}
