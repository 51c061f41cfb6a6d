package import Sharding

/// One SQL statement with its values: text for PostgreSQL's parser, and bindings that never meet it.
///
/// Written as a string literal, in which `\(value)` binds: it becomes `$n` and the value travels beside the
/// text in binary. `\(unsafe: "…")` pastes text, for names that the program itself has chosen;
/// `\(fragment: sql)` puts another piece of SQL in, bindings included.
package struct SQL: ExpressibleByStringInterpolation, Sendable {
    /// The text; bytes, since it is made anew for each query and only compared with what is prepared.
    private(set) var utf8: [UInt8] = []
    package private(set) var bindings = Bindings()

    package var text: String { String(decoding: utf8, as: UTF8.self) }

    private init() {}

    package init(stringLiteral text: StaticString) {
        append(text)
    }

    package init(stringInterpolation: StringInterpolation) {
        self = stringInterpolation.sql
    }

    /// A statement without bindings, from text that the program itself made.
    package init(unsafe text: String) {
        utf8 = Array(text.utf8)
    }

    package static func + (head: SQL, tail: SQL) -> SQL {
        var joined = head
        joined.append(tail)
        return joined
    }

    package static func += (head: inout SQL, tail: SQL) {
        head.append(tail)
    }

    /// Appends `fragment` with its placeholders numbered on from this statement's own.
    package mutating func append(_ fragment: SQL) {
        var copied = 0
        for index in fragment.bindings.specs.indices {
            let placeholder = Int(fragment.bindings.specs[index].textOffset)
            utf8 += fragment.utf8[copied..<placeholder]
            appendPlaceholder()
            bindings.copy(index, of: fragment.bindings)
            copied = placeholder + decimalDigits(index + 1) + 1
        }
        utf8 += fragment.utf8[copied...]
    }

    private mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { utf8.append(contentsOf: $0) }
    }

    private mutating func bind(_ value: some PostgresBindable) {
        appendPlaceholder()
        bindings.append(value)
    }

    private mutating func appendPlaceholder() {
        bindings.nextTextOffset = UInt32(utf8.count)
        utf8.append(UInt8(ascii: "$"))
        let number = bindings.count + 1
        if number < 10 {
            utf8.append(UInt8(ascii: "0") + UInt8(number))
        } else {
            utf8 += String(number).utf8
        }
    }

    package struct StringInterpolation: StringInterpolationProtocol, Sendable {
        fileprivate var sql = SQL()

        package init(literalCapacity: Int, interpolationCount: Int) {
            sql.utf8.reserveCapacity(literalCapacity + 3 * interpolationCount)
            sql.bindings.reserve(interpolationCount)
        }

        package mutating func appendLiteral(_ literal: StaticString) {
            sql.append(literal)
        }

        package mutating func appendInterpolation(_ value: some PostgresBindable) {
            sql.bind(value)
        }

        /// An optional of its own, so that the compiler does not take it for a slip.
        package mutating func appendInterpolation<T: PostgresBindable>(_ value: T?) {
            sql.bind(value)
        }

        package mutating func appendInterpolation(unsafe text: String) {
            sql.utf8 += text.utf8
        }

        package mutating func appendInterpolation(fragment: SQL) {
            sql.append(fragment)
        }

        // Ids cannot conform by a protocol extension, so they have overloads of their own; a type that
        // conforms to both takes the one above.

        @_disfavoredOverload
        package mutating func appendInterpolation(_ id: some RoutedID) {
            sql.bind(id.rawValue)
        }

        @_disfavoredOverload
        package mutating func appendInterpolation<ID: RoutedID>(_ id: ID?) {
            sql.bind(id?.rawValue)
        }

        @_disfavoredOverload
        package mutating func appendInterpolation<ID: RoutedID>(_ ids: [ID]) {
            sql.bind(ids.map(\.rawValue))
        }

        @_disfavoredOverload
        package mutating func appendInterpolation<ID: RoutedID>(_ ids: [ID?]) {
            sql.bind(ids.map { $0?.rawValue })
        }
    }
}

private func decimalDigits(_ value: Int) -> Int {
    var digits = 1
    var rest = value / 10
    while rest > 0 {
        digits += 1
        rest /= 10
    }
    return digits
}
