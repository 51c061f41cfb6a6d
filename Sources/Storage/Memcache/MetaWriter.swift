import Sharding

/// Writes commands of the meta protocol one after the other, to be sent at once.
struct MetaWriter {
    private(set) var bytes: [UInt8] = []

    /// Of the next command; each answer must carry its own.
    private(set) var opaque: UInt32

    init(opaque: UInt32) { self.opaque = opaque }

    /// Keeps the memory.
    mutating func clear() {
        if bytes.capacity > Self.kept { bytes = [] } else { bytes.removeAll(keepingCapacity: true) }
    }

    /// A buffer that has grown beyond this is given back.
    private static let kept = 1 << 20

    // MARK: Commands

    mutating func get(_ name: MetaName) {
        begin("mg ", name)
        end(" v f c")
    }

    /// Reads, and puts a marker where nothing is.
    mutating func lease(_ name: MetaName, seconds: Int) {
        begin("mg ", name)
        text(" N")
        number(UInt64(seconds))
        end(" v f c")
    }

    enum SetMode {
        case always
        case ifAbsent
        case ifUnchanged(UInt64)
    }

    mutating func set(
        _ name: MetaName,
        _ value: [UInt8],
        flags: UInt32,
        seconds: Int,
        _ mode: SetMode
    ) {
        begin("ms ", name)
        text(" ")
        number(UInt64(value.count))
        text(" T")
        number(UInt64(seconds))
        text(" F")
        number(UInt64(flags))
        switch mode {
        case .always: break
        case .ifAbsent: text(" ME")
        case .ifUnchanged(let unique):
            text(" C")
            number(unique)
        }
        end("")
        bytes.append(contentsOf: value)
        text("\r\n")
    }

    mutating func delete(_ name: MetaName) {
        begin("md ", name)
        end("")
    }

    /// Marks a value as expired, for `seconds` more.
    mutating func expire(_ name: MetaName, seconds: Int) {
        begin("md ", name)
        text(" I T")
        number(UInt64(seconds))
        end("")
    }

    /// Lets another reader win an expired value.
    mutating func giveBack(_ name: MetaName, unique: UInt64) {
        begin("md ", name)
        text(" I C")
        number(unique)
        end("")
    }

    // MARK: Text

    private mutating func begin(_ command: StaticString, _ name: MetaName) {
        text(command)
        bytes.append(contentsOf: name.prefix)
        bytes.append(contentsOf: name.name.utf8)
    }

    private mutating func end(_ flags: StaticString) {
        text(flags)
        text(" O")
        number(UInt64(opaque))
        text("\r\n")
        opaque &+= 1
    }

    private mutating func text(_ text: StaticString) {
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    private mutating func number(_ number: UInt64) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var at = 20
            var rest = number
            repeat {
                at -= 1
                digits[at] = UInt8(truncatingIfNeeded: rest % 10) + 0x30
                rest /= 10
            } while rest > 0
            bytes.append(contentsOf: digits[at...])
        }
    }
}

/// A name on a node: its beginning, which says the life of the node and the pool, and a key's own name.
struct MetaName {
    var prefix: [UInt8]
    var name: String
}
