import EventLoops

/// How fast a client sends or reads, measured in windows.
struct Pace {
    /// When the current wait or window began, in the loop's milliseconds.
    private(set) var since: UInt64 = 0
    private var bytes = 0
    private var lastQueued = 0

    mutating func restart(_ now: UInt64) {
        since = now
        bytes = 0
        lastQueued = 0
    }

    mutating func moved(_ count: Int) { bytes += count }

    /// Notes how much of a queue has gone out since the last call.
    mutating func drained(to queued: Int) {
        if lastQueued > queued { bytes += lastQueued - queued }
        lastQueued = queued
    }

    /// Whether a whole window has passed below the least rate; begins a new window after each.
    mutating func isTooSlow(_ now: UInt64, _ limits: HTTPLimits) -> Bool {
        let elapsed = now &- since
        guard elapsed >= limits.rateWindow.wholeMilliseconds else { return false }
        let needed = UInt64(limits.minimumRate) * elapsed / 1_000
        let isSlow = UInt64(bytes) < needed
        since = now
        bytes = 0
        return isSlow
    }
}
