/// The rules on the target of a request line.
enum TargetRules {
    /// Accepts the origin form; `*` for OPTIONS; and the absolute form if it names the host of the Host
    /// header, since two names for one request are a way to be routed twice.
    static func read(
        _ range: Range<Int>,
        in text: UnsafeBufferPointer<UInt8>,
        host: RequestHead.Slot?,
        _ head: inout RequestHead
    ) throws(HTTPError) {
        let target = UnsafeBufferPointer(rebasing: text[range])
        for byte in target where byte <= 0x20 || byte >= 0x7F || byte == UInt8(ascii: "#") {
            throw malformed
        }
        var start = range.lowerBound
        switch target.first {
        case UInt8(ascii: "/"): break
        case UInt8(ascii: "*") where head.method == .options && target.count == 1: break
        default:
            start += try authorityEnd(
                target,
                host: host.map { text.part($0.valueStart, $0.valueEnd) }
            )
        }
        head.target = start..<range.upperBound
        head.pathEnd = text[head.target].firstIndex(of: UInt8(ascii: "?")) ?? range.upperBound
    }

    private static let malformed = HTTPError(400, "Malformed request target.")

    /// Where the path of an absolute target begins.
    private static func authorityEnd(
        _ target: UnsafeBufferPointer<UInt8>,
        host: UnsafeBufferPointer<UInt8>?
    ) throws(HTTPError) -> Int {
        let schemes: [StaticString] = ["http://", "https://"]
        for scheme in schemes where target.count > scheme.utf8CodeUnitCount {
            let start = scheme.utf8CodeUnitCount
            guard UnsafeBufferPointer(rebasing: target[0..<start]).equalsIgnoringCase(scheme) else {
                continue
            }
            guard let end = target[start...].firstIndex(of: UInt8(ascii: "/")), let host,
                UnsafeBufferPointer(rebasing: target[start..<end]).equalsIgnoringCase(host)
            else { throw HTTPError(400, "The target does not name the host of the Host header.") }
            return end
        }
        throw malformed
    }
}
