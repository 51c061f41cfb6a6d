import Synchronization

/// A number that only grows.
///
/// One thread writes it, the one that asked the registry for it (each loop asks for its own); any thread
/// may read it. Adding is a plain load and store.
package final class Counter: Sendable {
    private let cell = Atomic<UInt64>(0)

    init() {}

    @inline(__always)
    package func add(_ amount: Int = 1) {
        // One writer: no read-modify-write instruction is needed, and none is paid for.
        cell.store(
            cell.load(ordering: .relaxed) &+ UInt64(truncatingIfNeeded: amount),
            ordering: .relaxed
        )
    }

    package var value: Double { Double(cell.load(ordering: .relaxed)) }
}

/// A number that goes up and down. One thread writes it; any thread may read it.
package final class Gauge: Sendable {
    private let cell = Atomic<UInt64>(0)

    init() {}

    @inline(__always)
    package func set(_ value: Double) {
        cell.store(value.bitPattern, ordering: .relaxed)
    }

    @inline(__always)
    package func add(_ amount: Double) {
        set(value + amount)
    }

    package var value: Double { Double(bitPattern: cell.load(ordering: .relaxed)) }
}

/// How often values fell into each of some ranges, and their sum. One thread writes it.
package final class Histogram: Sendable {
    /// Seconds, from a tenth of a millisecond to ten seconds.
    package static let durations: [Double] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
        10,
    ]

    let bounds: [Double]
    private let cells: [Counter]
    private let total = Gauge()

    init(bounds: [Double]) {
        precondition(!bounds.isEmpty && bounds == bounds.sorted(), "bounds must rise")
        self.bounds = bounds
        // One more, for what lies above the last bound.
        cells = (0...bounds.count).map { _ in Counter() }
    }

    package func record(_ value: Double) {
        var index = 0
        while index < bounds.count, value > bounds[index] { index += 1 }
        cells[index].add()
        total.add(value)
    }

    package func record(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        record(Double(seconds) + Double(attoseconds) * 1e-18)
    }

    var counts: [Double] { cells.map(\.value) }
    var sum: Double { total.value }
}
