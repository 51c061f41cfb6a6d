import Glibc

@testable import HTTP

/// libFuzzer's way in; `cluster/fuzz` builds it and says by `FUZZ_TARGET` what the bytes are.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    var bytes = Array(UnsafeBufferPointer(start: data, count: size))
    // The last bytes say where the others are cut, so that the cuts are found by the same search.
    let cuts = bytes.suffix(cutCount).map { Int($0) }
    bytes.removeLast(min(cutCount, bytes.count))
    let places = cuts.map { min($0 * max(1, bytes.count / 255), bytes.count) }.sorted()
    if let broken = target.violation(bytes, places) { fatalError("\(target): \(broken)") }
    return 0
}

private let cutCount = 3

private enum FuzzTarget: String {
    case head, chunks, form, frames

    func violation(_ bytes: [UInt8], _ cuts: [Int]) -> String? {
        switch self {
        case .head: FramingProperties.violation(ofHead: bytes, cuts: cuts, headParser)
        case .chunks: FramingProperties.violation(ofChunks: bytes, cuts: cuts)
        case .form: FramingProperties.violation(ofForm: bytes)
        case .frames: FramingProperties.violation(ofFrames: bytes, cuts: cuts)
        }
    }
}

private let target: FuzzTarget = {
    let name = getenv("FUZZ_TARGET").map { String(cString: $0) } ?? "head"
    guard let target = FuzzTarget(rawValue: name) else { fatalError("no target \(name)") }
    return target
}()

// unsafe: libFuzzer calls from one thread only.
nonisolated(unsafe) private let headParser = HeadParser(limits: HTTPLimits())
