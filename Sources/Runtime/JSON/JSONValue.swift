import Glibc

/// One value inside a parsed document.
///
/// A view, cheap to copy, that keeps the whole document alive. Accessors answer `nil` where the value
/// is of another type; nothing is converted but whole doubles and unsigned integers to `int64`.
package struct JSONValue: Sendable {
    fileprivate let document: JSONDocument
    fileprivate let index: Int

    init(document: JSONDocument) {
        // Word 0 is the root marker.
        self.init(document: document, index: 1)
    }

    fileprivate init(document: JSONDocument, index: Int) {
        self.document = document
        self.index = index
    }

    package var isNull: Bool { document.kind(at: index) == .null }

    package var string: String? {
        document.kind(at: index) == .string ? document.string(at: index) : nil
    }

    package var bool: Bool? {
        switch document.kind(at: index) {
        case .yes: true
        case .no: false
        default: nil
        }
    }

    package var int64: Int64? {
        let bits = document.bits(at: index)
        return switch document.kind(at: index) {
        case .int64: Int64(bitPattern: bits)
        case .uint64: Int64(exactly: bits)
        case .double: Int64(exactly: Double(bitPattern: bits))
        default: nil
        }
    }

    package var int: Int? { int64.map(Int.init) }

    package var uint64: UInt64? {
        let bits = document.bits(at: index)
        return switch document.kind(at: index) {
        case .int64: UInt64(exactly: Int64(bitPattern: bits))
        case .uint64: bits
        default: nil
        }
    }

    package var double: Double? {
        let bits = document.bits(at: index)
        return switch document.kind(at: index) {
        case .int64: Double(Int64(bitPattern: bits))
        case .uint64: Double(bits)
        case .double: Double(bitPattern: bits)
        default: nil
        }
    }

    package var array: [JSONValue]? {
        guard document.kind(at: index) == .array else { return nil }
        var elements: [JSONValue] = []
        var next = index + 1
        let last = document.end(of: index) - 1
        while next < last {
            elements.append(JSONValue(document: document, index: next))
            next = document.end(of: next)
        }
        return elements
    }

    /// The members in the order of the text, repeated names included.
    package var object: [(key: String, value: JSONValue)]? {
        guard document.kind(at: index) == .object else { return nil }
        var members: [(key: String, value: JSONValue)] = []
        forEachMember { key, value in
            members.append((document.string(at: key), JSONValue(document: document, index: value)))
        }
        return members
    }

    /// The member of that name; the last one where a name is repeated, as browsers do.
    package subscript(_ name: String) -> JSONValue? {
        guard document.kind(at: index) == .object else { return nil }
        var name = name
        return name.withUTF8 { name in
            var found: JSONValue?
            forEachMember { key, value in
                if document.utf8(at: key).holds(name) {
                    found = JSONValue(document: document, index: value)
                }
            }
            return found
        }
    }

    package subscript(_ position: Int) -> JSONValue? {
        guard let array, array.indices.contains(position) else { return nil }
        return array[position]
    }

    fileprivate func forEachMember(_ body: (_ key: Int, _ value: Int) -> Void) {
        var next = index + 1
        let last = document.end(of: index) - 1
        while next < last {
            body(next, next + 1)
            next = document.end(of: next + 1)
        }
    }
}

/// The members of an object that is read field by field: found once, and no name of them becomes a text.
package struct JSONMembers {
    private let document: JSONDocument
    private var places: [(key: Int, value: Int)] = []

    /// Nil for what is no object.
    package init?(_ value: JSONValue) {
        guard value.document.kind(at: value.index) == .object else { return nil }
        document = value.document
        places.reserveCapacity(32)
        value.forEachMember { places.append(($0, $1)) }
    }

    /// The member of that name; the last one where a name is repeated.
    package subscript(_ name: StaticString) -> JSONValue? {
        let name = UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        var rest = places.count
        while rest > 0 {
            rest -= 1
            if document.utf8(at: places[rest].key).holds(name) {
                return JSONValue(document: document, index: places[rest].value)
            }
        }
        return nil
    }
}

extension UnsafeBufferPointer<UInt8> {
    @inline(__always)
    fileprivate func holds(_ other: UnsafeBufferPointer<UInt8>) -> Bool {
        count == other.count && (count == 0 || memcmp(baseAddress!, other.baseAddress!, count) == 0)
    }
}

extension JSONValue: JSONEncodable {
    package func write(to json: inout JSONWriter) {
        switch document.kind(at: index) {
        case .object:
            json.object { json in
                for (key, value) in object ?? [] {
                    json.key(key)
                    value.write(to: &json)
                }
            }
        case .array: json.array(array ?? [])
        case .string: json.string(document.string(at: index))
        case .int64: json.int(Int64(bitPattern: document.bits(at: index)))
        case .uint64: json.int(document.bits(at: index))
        case .double: json.double(Double(bitPattern: document.bits(at: index)))
        case .yes: json.bool(true)
        case .no: json.bool(false)
        case .null: json.null()
        }
    }
}
