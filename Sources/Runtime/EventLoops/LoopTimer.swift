/// A timer of one event loop; fires at most once.
package final class LoopTimer {
    let deadline: UInt64
    var heapIndex = -1
    private var body: (() -> Void)?
    private unowned let loop: EventLoop

    init(deadline: UInt64, body: @escaping () -> Void, loop: EventLoop) {
        self.deadline = deadline
        self.body = body
        self.loop = loop
    }

    /// Takes the timer back; does nothing once it has fired. Called on the timer's loop.
    package func cancel() {
        guard body != nil else { return }
        body = nil
        loop.cancel(self)
    }

    func fire() {
        let due = body
        body = nil
        due?()
    }
}

/// A binary heap of timers, ordered by deadline; each timer knows its place, so removal is O(log n).
struct TimerHeap {
    private var timers: [LoopTimer] = []

    var first: LoopTimer? { timers.first }

    mutating func insert(_ timer: LoopTimer) {
        timer.heapIndex = timers.count
        timers.append(timer)
        siftUp(from: timers.count - 1)
    }

    mutating func remove(_ timer: LoopTimer) {
        let hole = timer.heapIndex
        guard hole >= 0 else { return }
        timer.heapIndex = -1
        let last = timers.removeLast()
        guard hole < timers.count else { return }
        timers[hole] = last
        last.heapIndex = hole
        siftUp(from: hole)
        siftDown(from: last.heapIndex)
    }

    private mutating func siftUp(from start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            guard timers[child].deadline < timers[parent].deadline else { return }
            swapAt(child, parent)
            child = parent
        }
    }

    private mutating func siftDown(from start: Int) {
        var parent = start
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < timers.count && timers[child].deadline < timers[least].deadline {
                least = child
            }
            guard least != parent else { return }
            swapAt(parent, least)
            parent = least
        }
    }

    private mutating func swapAt(_ a: Int, _ b: Int) {
        timers.swapAt(a, b)
        timers[a].heapIndex = a
        timers[b].heapIndex = b
    }
}

extension Duration {
    /// Whole milliseconds, rounded up, at least zero.
    package var wholeMilliseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        return UInt64(seconds) * 1_000
            + UInt64((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}
