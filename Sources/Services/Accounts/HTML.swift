/// HTML in which everything that is put in is escaped.
///
///     let page: HTML = "<p>\(name)</p>"
///
/// Only other ``HTML`` is pasted as it is.
package struct HTML: Sendable, ExpressibleByStringInterpolation, CustomStringConvertible {
    package private(set) var description: String

    package init(stringLiteral text: String) {
        description = text
    }

    package init(stringInterpolation: StringInterpolation) {
        description = stringInterpolation.text
    }

    package struct StringInterpolation: StringInterpolationProtocol {
        var text = ""

        package init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + interpolationCount * 16)
        }

        package mutating func appendLiteral(_ literal: String) {
            text += literal
        }

        package mutating func appendInterpolation(_ value: String) {
            for scalar in value.unicodeScalars {
                switch scalar {
                case "&": text += "&amp;"
                case "<": text += "&lt;"
                case ">": text += "&gt;"
                case "\"": text += "&quot;"
                case "'": text += "&#39;"
                default: text.unicodeScalars.append(scalar)
                }
            }
        }

        package mutating func appendInterpolation(_ html: HTML) {
            text += html.description
        }

        package mutating func appendInterpolation(_ parts: [HTML]) {
            for part in parts { text += part.description }
        }
    }
}
