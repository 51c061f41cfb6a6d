/// The parsed head of one request: its own copy of the bytes, and where the fields lie in it.
struct RequestHead: Sendable {
    struct Slot: Sendable {
        let nameStart: UInt32
        let nameEnd: UInt32
        let valueStart: UInt32
        let valueEnd: UInt32
    }

    /// How the end of the body is found.
    enum Framing: Sendable, Equatable {
        case length(Int)
        case chunked
    }

    var bytes: [UInt8] = []
    var slots: [Slot] = []
    var method = Method.get
    /// The target as sent, without the scheme and authority of the absolute form.
    var target = 0..<0
    /// Where the path ends and a query may begin.
    var pathEnd = 0
    var framing = Framing.length(0)
    var isHTTP10 = false
    var keepsAlive = true
    var expectsContinue = false
    var requestID: Slot?
    var traceparent: Slot?

    var hasBody: Bool { framing != .length(0) }

    func string(_ range: Range<Int>) -> String {
        String(decoding: bytes[range], as: UTF8.self)
    }

    func value(_ slot: Slot) -> String {
        string(Int(slot.valueStart)..<Int(slot.valueEnd))
    }

    /// Gives `body` the first value of this header.
    func withHeader<T>(
        _ name: StaticString,
        _ body: (UnsafeBufferPointer<UInt8>?) -> T
    ) -> T {
        bytes.withUnsafeBufferPointer { bytes in
            for slot in slots
            where bytes.part(slot.nameStart, slot.nameEnd).equalsIgnoringCase(name) {
                return body(bytes.part(slot.valueStart, slot.valueEnd))
            }
            return body(nil)
        }
    }

    /// The first value of this header.
    func header(_ name: String) -> String? {
        var name = name
        return name.withUTF8 { wanted in
            bytes.withUnsafeBufferPointer { bytes in
                for slot in slots {
                    let name = bytes.part(slot.nameStart, slot.nameEnd)
                    if name.equalsIgnoringCase(wanted) {
                        return bytes.part(slot.valueStart, slot.valueEnd).string
                    }
                }
                return nil
            }
        }
    }
}

extension UnsafeBufferPointer<UInt8> {
    @inline(__always)
    func part(_ start: UInt32, _ end: UInt32) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(rebasing: self[Int(start)..<Int(end)])
    }
}

extension RequestHead {
    /// A head that was not received: for tests and for requests that a process makes to itself.
    init(method: Method, target: String, headers: Headers) {
        self.method = method
        bytes = Array(target.utf8)
        self.target = 0..<bytes.count
        pathEnd = bytes.firstIndex(of: UInt8(ascii: "?")) ?? bytes.count
        for field in headers.fields {
            let nameStart = bytes.count
            bytes += field.name.utf8
            let nameEnd = bytes.count
            bytes += field.value.utf8
            slots.append(
                Slot(
                    nameStart: UInt32(nameStart),
                    nameEnd: UInt32(nameEnd),
                    valueStart: UInt32(nameEnd),
                    valueEnd: UInt32(bytes.count)
                )
            )
        }
    }
}
