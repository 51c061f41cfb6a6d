/// Keeps a copy at a number of bytes a second: a bucket of tokens, filled at that rate.
///
/// Its clock is what the caller says has passed since the start.
struct CopyThrottle {
    /// What may be sent at once after a rest, as time: a stall is not caught up with for longer.
    static let burst = Duration.milliseconds(100)

    /// Shorter waits are saved up: a thread that sleeps less sleeps too long.
    static let shortestWait = Duration.milliseconds(5)

    private let bytesPerSecond: Double
    private var tokens: Double
    private var last = Duration.zero

    init(bytesPerSecond: Int64) {
        precondition(bytesPerSecond > 0)
        self.bytesPerSecond = Double(bytesPerSecond)
        tokens = 0
    }

    /// Pays for bytes that were just sent; gives how long to wait before the next, if at all.
    mutating func spend(_ bytes: Int, at elapsed: Duration) -> Duration? {
        let earned = (elapsed - last) / .seconds(1) * bytesPerSecond
        last = elapsed
        tokens = min(tokens + earned, Self.burst / .seconds(1) * bytesPerSecond) - Double(bytes)
        guard tokens < 0 else { return nil }
        let wait = Duration.seconds(-tokens / bytesPerSecond)
        return wait >= Self.shortestWait ? wait : nil
    }
}
