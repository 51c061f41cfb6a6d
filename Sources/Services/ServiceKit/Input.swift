import HTTP
import JSON

/// What a client sent, whichever way it sent it.
///
/// Query, urlencoded and multipart forms and JSON bodies become one tree, in the way of Mastodon (Rack):
/// `a[]` is a list, `a[b]` an object, `a[0][b]` an object under `0`; a body's value wins over the
/// query's, and the last of repeated plain names wins.
package struct Input: Sendable {
    package indirect enum Value: Sendable, Equatable {
        case null
        case bool(Bool)
        case integer(Int64)
        case number(Double)
        case text(String)
        case file(UploadedFile)
        case list([Value])
        case object([String: Value])
    }

    /// Objects in objects: deeper names are refused.
    package static let depthLimit = 8

    package private(set) var root: [String: Value]

    package init(_ root: [String: Value] = [:]) {
        self.root = root
    }

    package init(_ query: Query) throws(ServiceError) {
        self.init()
        try add(query)
    }

    package subscript(_ name: String) -> Value? { root[name] }

    /// Whether the name was sent at all, even as null or empty.
    package func has(_ name: String) -> Bool { root[name] != nil }

    // MARK: Reading

    /// Text, or what else was sent as text; nil for null and for what is no single value.
    package func string(_ name: String) -> String? { root[name]?.string }

    package func requiredString(_ name: String) throws(ServiceError) -> String {
        guard let text = string(name), !text.isEmpty else {
            throw .invalid("\(name) can't be blank")
        }
        return text
    }

    /// Rails' reading of forms: nothing or an empty text is no answer, `0`, `f`, `false`, `off` are no.
    package func bool(_ name: String) -> Bool? { root[name]?.bool }

    package func int(_ name: String) -> Int? { root[name]?.int64.map(Int.init) }

    package func double(_ name: String) -> Double? { root[name]?.double }

    /// A list of texts: `ids[]=1&ids[]=2`, a JSON array, or one plain value.
    package func strings(_ name: String) -> [String] { root[name]?.strings ?? [] }

    package func file(_ name: String) -> UploadedFile? {
        if case .file(let file) = root[name] { file } else { nil }
    }

    package func object(_ name: String) -> Input? {
        if case .object(let members) = root[name] { Input(members) } else { nil }
    }

    /// A list of objects, sent as a list or as an object with numbers for names.
    package func objects(_ name: String) -> [Input] {
        (root[name]?.elements ?? []).compactMap { element in
            if case .object(let members) = element { Input(members) } else { nil }
        }
    }

    // MARK: Building

    package mutating func add(_ query: Query) throws(ServiceError) {
        guard query.isWellFormed else {
            throw ServiceError(.badRequest, "The query or form is not well-formed.")
        }
        for (name, value) in query.pairs { try add(name, .text(value)) }
    }

    /// Adds a value under a name of a form, such as `media_ids[]`.
    package mutating func add(_ name: String, _ value: Value) throws(ServiceError) {
        // As nearly all names are.
        guard name.utf8.contains(UInt8(ascii: "[")) else {
            root[name] = value
            return
        }
        let path = try Self.path(of: name)
        var object = Value.object(root)
        object.insert(value, at: path[...])
        if case .object(let members) = object { root = members }
    }

    /// Adds a JSON body's members.
    package mutating func add(_ json: JSONValue) throws(ServiceError) {
        guard let members = json.object else {
            throw ServiceError(.badRequest, "The JSON body must be an object.")
        }
        for (name, value) in members { root[name] = Value(value) }
    }

    /// Puts the other's values over these.
    package mutating func merge(_ other: Input) {
        root.merge(other.root) { _, new in new }
    }

    /// `a[b][]` as its parts `a`, `b` and an empty one; a name with odd brackets is one plain part.
    private static func path(of name: String) throws(ServiceError) -> [String] {
        guard let open = name.firstIndex(of: "["), open != name.startIndex, name.hasSuffix("]")
        else { return [name] }
        let inner = name[open...].dropFirst().dropLast()
        let parts = inner.split(separator: "][", omittingEmptySubsequences: false)
        guard !parts.contains(where: { $0.contains("[") || $0.contains("]") }) else {
            return [name]
        }
        guard parts.count < depthLimit else {
            throw ServiceError(.badRequest, "A name in the form is nested too deep.")
        }
        return [String(name[..<open])] + parts.map(String.init)
    }
}

/// A file in a multipart form.
package struct UploadedFile: Sendable, Equatable {
    package var filename: String
    package var contentType: String?
    package var bytes: [UInt8]

    package init(filename: String, contentType: String?, bytes: [UInt8]) {
        self.filename = filename
        self.contentType = contentType
        self.bytes = bytes
    }
}

extension Input.Value {
    fileprivate init(_ json: JSONValue) {
        if json.isNull {
            self = .null
        } else if let text = json.string {
            self = .text(text)
        } else if let flag = json.bool {
            self = .bool(flag)
        } else if let members = json.object {
            // The last of repeated names wins, as it does in forms.
            self = .object(
                Dictionary(members.map { ($0.key, Self($0.value)) }) { _, last in last }
            )
        } else if let elements = json.array {
            self = .list(elements.map { Self($0) })
        } else if let integer = json.int64 {
            self = .integer(integer)
        } else {
            self = .number(json.double ?? 0)
        }
    }

    package var string: String? {
        switch self {
        case .text(let text): text
        case .integer(let integer): String(integer)
        case .number(let number): String(number)
        case .bool(let flag): String(flag)
        case .file, .list, .object, .null: nil
        }
    }

    package var bool: Bool? {
        switch self {
        case .bool(let flag): flag
        case .integer(let integer): integer != 0
        case .number(let number): number != 0
        case .text(let text):
            text.isEmpty ? nil : !["0", "f", "false", "off"].contains(text.lowercased())
        case .file, .list, .object, .null: nil
        }
    }

    package var int64: Int64? {
        switch self {
        case .integer(let integer): integer
        case .text(let text): Int64(text)
        default: nil
        }
    }

    package var double: Double? {
        switch self {
        case .integer(let integer): Double(integer)
        case .number(let number): number
        case .text(let text): Double(text).flatMap { $0.isFinite ? $0 : nil }
        default: nil
        }
    }

    package var strings: [String] { (elements ?? [self]).compactMap(\.string) }

    /// A list's elements, or those of an object with numbers for names, in their order.
    package var elements: [Input.Value]? {
        switch self {
        case .list(let elements): return elements
        case .object(let members):
            let numbered = members.compactMap { name, value in Int(name).map { ($0, value) } }
            guard numbered.count == members.count else { return nil }
            return numbered.sorted { $0.0 < $1.0 }.map(\.1)
        default: return nil
        }
    }

    /// Puts a value where the rest of a form's name leads to; what is in the way is replaced.
    fileprivate mutating func insert(_ value: Self, at path: ArraySlice<String>) {
        guard let name = path.first else {
            self = value
            return
        }
        if name.isEmpty {
            var elements: [Self] = []
            if case .list(let known) = self { elements = known }
            append(value, at: path.dropFirst(), to: &elements)
            self = .list(elements)
        } else {
            var members: [String: Self] = [:]
            if case .object(let known) = self { members = known }
            // Taken out while it changes, so that a list of a thousand is not copied a thousand times.
            self = .null
            var member = members.removeValue(forKey: name) ?? .null
            member.insert(value, at: path.dropFirst())
            members[name] = member
            self = .object(members)
        }
    }

    /// `a[][b]`: a member that the last object of the list has already begins the next one.
    private func append(_ value: Self, at rest: ArraySlice<String>, to elements: inout [Self]) {
        if let name = rest.first, !name.isEmpty, case .object(let last) = elements.last,
            last[name] == nil || rest.count > 1
        {
            var element = Self.object(last)
            element.insert(value, at: rest)
            elements[elements.count - 1] = element
            return
        }
        var element = Self.null
        element.insert(value, at: rest)
        elements.append(element)
    }
}
