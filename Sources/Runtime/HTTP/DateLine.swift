import Glibc

/// The `Date` header line, made once a second.
struct DateLine {
    private(set) var bytes: [UInt8] = []
    private var second = 0

    /// Makes the line new if the second has changed; called before an answer is written.
    @inline(__always)
    mutating func refresh() {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME_COARSE, &now)
        if now.tv_sec != second { render(now.tv_sec) }
    }

    private mutating func render(_ now: Int) {
        second = now
        bytes = Array("Date: \(DateLine.text(now))\r\n".utf8)
    }

    /// A time as HTTP writes it: `Sat, 21 Nov 2026 12:00:00 GMT`.
    static func text(_ second: Int) -> String {
        var second = second
        var parts = tm()
        gmtime_r(&second, &parts)
        let day = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][Int(parts.tm_wday)]
        let month = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ][Int(parts.tm_mon)]
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(day), \(two(parts.tm_mday)) \(month) \(parts.tm_year + 1900) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
    }
}
