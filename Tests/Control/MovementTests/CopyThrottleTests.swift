import Testing

@testable import Movement

struct CopyThrottleTests {
    /// Sends rows through a throttle on a clock of its own; gives the time that it took.
    private func send(_ rows: [Int], at rate: Int64, stalls: [Int: Duration] = [:]) -> Duration {
        var throttle = CopyThrottle(bytesPerSecond: rate)
        var clock = Duration.zero
        for (index, bytes) in rows.enumerated() {
            clock += stalls[index] ?? .zero
            if let wait = throttle.spend(bytes, at: clock) { clock += wait }
        }
        return clock
    }

    @Test(arguments: [1, 100, 5_000, 200_000])
    func `rows of any size go at the rate`(bytes: Int) {
        let rate: Int64 = 10_000_000
        let rows = Array(repeating: bytes, count: 50_000_000 / bytes)

        let taken = send(rows, at: rate)

        let ratio = taken / .seconds(5)
        #expect(ratio > 0.97 && ratio < 1.03, "\(ratio)")
    }

    @Test func `a stall is caught up with for a tenth of a second at most`() {
        let rows = Array(repeating: 1_000, count: 10_000)

        let taken = send(rows, at: 10_000_000, stalls: [5_000: .seconds(3)])

        #expect(taken >= .seconds(3.9) && taken <= .seconds(4.01), "\(taken)")
    }
}
