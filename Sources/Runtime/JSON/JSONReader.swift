import CSimdjson

/// Why a text is not JSON that we take.
package enum JSONError: Error, Sendable, Equatable {
    case syntax
    /// Nested deeper than ``JSONReader/depthLimit``.
    case tooDeep
    case invalidUTF8
    /// A number that no 64-bit integer or double holds, or that is malformed.
    case number
    case empty
    case tooLarge(limit: Int)
    case outOfMemory
}

/// Parses whole JSON texts.
package enum JSONReader {
    /// How deep containers may nest.
    package static let depthLimit = 64

    /// How many bytes a text may have unless the caller says otherwise.
    package static let sizeLimit = 1 << 20

    package static func parse(
        _ bytes: [UInt8],
        limit: Int = sizeLimit
    ) throws(JSONError) -> JSONValue {
        guard bytes.count <= limit else { throw .tooLarge(limit: limit) }
        var document: OpaquePointer?
        let status = tessera_json_parse(bytes, bytes.count, depthLimit, &document)
        guard status == TESSERA_JSON_OK.rawValue, let document else {
            throw JSONError(status: status)
        }
        return JSONValue(document: JSONDocument(owning: document))
    }

    package static func parse(
        _ text: String,
        limit: Int = sizeLimit
    ) throws(JSONError) -> JSONValue {
        try parse(Array(text.utf8), limit: limit)
    }
}

extension JSONError {
    fileprivate init(status: Int32) {
        switch UInt32(status) {
        case TESSERA_JSON_DEPTH.rawValue: self = .tooDeep
        case TESSERA_JSON_UTF8.rawValue: self = .invalidUTF8
        case TESSERA_JSON_NUMBER.rawValue: self = .number
        case TESSERA_JSON_EMPTY.rawValue: self = .empty
        case TESSERA_JSON_MEMORY.rawValue: self = .outOfMemory
        default: self = .syntax
        }
    }
}

/// Owns one parsed document: a tape of 64-bit words and the strings that it points into.
final class JSONDocument: @unchecked Sendable {
    // @unchecked: the document is never written after it has been parsed, and freed once, here.
    private let pointer: OpaquePointer
    private let tape: UnsafePointer<UInt64>
    private let strings: UnsafePointer<UInt8>

    init(owning pointer: OpaquePointer) {
        self.pointer = pointer
        tape = tessera_json_tape(pointer)
        strings = tessera_json_strings(pointer)
    }

    deinit { tessera_json_free(pointer) }

    /// What begins at a word: its top byte is a letter, the rest depends on it.
    enum Kind: UInt8 {
        case object = 0x7B
        case array = 0x5B
        case string = 0x22
        case int64 = 0x6C
        case uint64 = 0x75
        case double = 0x64
        case yes = 0x74
        case no = 0x66
        case null = 0x6E
    }

    func kind(at index: Int) -> Kind {
        guard let kind = Kind(rawValue: UInt8(tape[index] >> 56)) else {
            preconditionFailure("no JSON value begins at word \(index)")
        }
        return kind
    }

    /// The index after the value that begins at `index`.
    func end(of index: Int) -> Int {
        switch kind(at: index) {
        case .object, .array: Int(tape[index] & 0xFFFF_FFFF)
        case .int64, .uint64, .double: index + 2
        case .string, .yes, .no, .null: index + 1
        }
    }

    /// The word after a number's letter: the number's bits.
    func bits(at index: Int) -> UInt64 { tape[index + 1] }

    func string(at index: Int) -> String {
        String(decoding: utf8(at: index), as: UTF8.self)
    }

    func utf8(at index: Int) -> UnsafeBufferPointer<UInt8> {
        let start = strings + Int(tape[index] & 0x00FF_FFFF_FFFF_FFFF)
        let count = UnsafeRawPointer(start).loadUnaligned(as: UInt32.self)
        return UnsafeBufferPointer(start: start + 4, count: Int(count))
    }
}
