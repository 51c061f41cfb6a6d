/// How long to wait before the next attempt to connect: doubling, jittered, bounded.
struct Backoff: Equatable {
    private let bounds: ClosedRange<Duration>
    private(set) var failures = 0

    init(_ bounds: ClosedRange<Duration>) {
        self.bounds = bounds
    }

    mutating func succeeded() { failures = 0 }

    /// The wait after one more failure; `jitter` is between 0 and 1.
    mutating func failed(jitter: Double) -> Duration {
        let doubled = bounds.lowerBound * Double(1 << min(failures, 16))
        failures += 1
        let full = min(doubled, bounds.upperBound)
        return full * (0.5 + 0.5 * jitter)
    }
}
