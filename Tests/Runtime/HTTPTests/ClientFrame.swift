/// Frames as a client writes them, right or wrong.
enum ClientFrame {
    static let mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]

    /// `first` is the whole first byte; `lengthBytes` writes the length in more bytes than it needs.
    static func bytes(
        _ first: UInt8,
        _ payload: [UInt8] = [],
        isMasked: Bool = true,
        lengthBytes: Int? = nil
    ) -> [UInt8] {
        let count = payload.count
        let size = lengthBytes ?? (count < 126 ? 0 : count < 65_536 ? 2 : 8)
        let short = size == 0 ? UInt8(count) : size == 2 ? 126 : 127
        var bytes = [first, short | (isMasked ? 0x80 : 0)]
        for place in (0..<size).reversed() { bytes.append(UInt8(count >> (8 * place) & 255)) }
        guard isMasked else { return bytes + payload }
        bytes += mask
        return bytes + payload.enumerated().map { $1 ^ mask[$0 % 4] }
    }

    static func text(_ text: String) -> [UInt8] { bytes(0x81, Array(text.utf8)) }

    static func close(_ code: UInt16, _ reason: [UInt8] = []) -> [UInt8] {
        bytes(0x88, [UInt8(code >> 8), UInt8(code & 255)] + reason)
    }
}
