/// A header value with parameters: `form-data; name="photo"; filename="a.jpg"`.
struct ParameterizedValue {
    let value: String
    private var parameters: [(name: String, value: String)] = []

    init(_ text: String) {
        var rest = Substring(text)
        value = ParameterizedValue.trimmed(rest.prefix { $0 != ";" })
        rest = rest.drop { $0 != ";" }
        while rest.first == ";" {
            rest = rest.dropFirst()
            let name = ParameterizedValue.trimmed(rest.prefix { $0 != "=" && $0 != ";" })
            rest = rest.drop { $0 != "=" && $0 != ";" }
            guard rest.first == "=" else { continue }
            rest = rest.dropFirst().drop { $0 == " " || $0 == "\t" }
            if rest.first == "\"" {
                parameters.append((name, ParameterizedValue.quoted(&rest)))
                rest = rest.drop { $0 != ";" }
            } else {
                parameters.append((name, ParameterizedValue.trimmed(rest.prefix { $0 != ";" })))
                rest = rest.drop { $0 != ";" }
            }
        }
    }

    subscript(_ name: String) -> String? {
        parameters.first { $0.name.equalsIgnoringCase(name) }?.value
    }

    /// The parameter `name*` (RFC 8187), which is `UTF-8''` and percent-encoded text.
    func extended(_ name: String) -> String? {
        guard let text = self[name + "*"] else { return nil }
        let parts = text.split(separator: "'", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, String(parts[0]).equalsIgnoringCase("UTF-8") else { return nil }
        var encoded = String(parts[2])
        return encoded.withUTF8 { PercentEncoding.decode($0, plusIsSpace: false) }
    }

    /// Takes a quoted string off the front; only `\"` and `\\` are escapes, since browsers send others as
    /// they stand.
    private static func quoted(_ rest: inout Substring) -> String {
        var text = ""
        rest = rest.dropFirst()
        while let character = rest.popFirst(), character != "\"" {
            if character == "\\", let next = rest.first, next == "\"" || next == "\\" {
                text.append(rest.removeFirst())
            } else {
                text.append(character)
            }
        }
        return text
    }

    private static func trimmed(_ text: Substring) -> String {
        let start = text.drop { $0 == " " || $0 == "\t" }
        let end = start.lastIndex { $0 != " " && $0 != "\t" }
        return end.map { String(start[...$0]) } ?? ""
    }
}
