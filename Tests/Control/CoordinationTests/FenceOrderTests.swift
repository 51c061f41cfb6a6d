import Testing

/// The order of lock, snapshot and look in a fenced transaction, DESIGN.md section 5: all interleavings of one writer with the
/// fence, as PostgreSQL runs them. Invariant 3 stands on it: what the source accepts is committed before the marker.
struct FenceOrderTests {
    @Test func `a lock that is held before the snapshot is taken lets no write through`() {
        #expect(FencedWrite.explore([.lock, .takeSnapshot, .look, .commit]).bad == nil)
    }

    @Test(arguments: [
        // Lock and read in one statement: its snapshot is older than its lock.
        [FencedWrite.Step.takeSnapshot, .lock, .look, .commit],
        // No lock at all.
        [.takeSnapshot, .look, .commit],
        // A lock that is taken when the look is over.
        [.takeSnapshot, .look, .lock, .commit],
    ])
    func `any other order lets a write through behind the fence`(steps: [FencedWrite.Step]) {
        #expect(FencedWrite.explore(steps).bad != nil)
    }

    @Test func `a snapshot of the transaction instead of the statement lets a write through`() {
        // REPEATABLE READ, or a STABLE function: whatever comes later, the first snapshot is looked at.
        let steps: [FencedWrite.Step] = [.takeSnapshot, .lock, .keepSnapshot, .look, .commit]

        #expect(FencedWrite.explore(steps).bad != nil)
    }
}

struct FencedWrite: Hashable {
    enum Step: Hashable { case lock, takeSnapshot, keepSnapshot, look, commit }
    enum Fence: Hashable { case waiting, locked, committed }

    var at = 0
    var holdsLock = false
    /// Whether the writer's snapshot shows the bucket as owned.
    var sees: Bool?
    var isRefused = false
    var hasWritten = false
    var fence = Fence.waiting
    var wroteBehindFence = false

    static func explore(_ steps: [Step]) -> StateSpace<FencedWrite> {
        StateSpace(
            from: FencedWrite(),
            next: { $0.next(steps) },
            isBad: { $0.wroteBehindFence }
        )
    }

    private func next(_ steps: [Step]) -> [(step: String, state: FencedWrite)] {
        var reached: [(String, FencedWrite)] = []
        if let writer = writing(steps) { reached.append(("writer", writer)) }
        var copy = self
        switch fence {
        case .waiting where !holdsLock:
            copy.fence = .locked
            reached.append(("lock", copy))
        case .locked:
            copy.fence = .committed
            reached.append(("fence", copy))
        default: break
        }
        return reached
    }

    private func writing(_ steps: [Step]) -> FencedWrite? {
        guard at < steps.count, !isRefused else { return nil }
        var copy = self
        copy.at += 1
        switch steps[at] {
        case .lock:
            // An exclusive lock is let go when the fence commits.
            guard fence != .locked else { return nil }
            copy.holdsLock = true
        case .takeSnapshot: copy.sees = fence != .committed
        case .keepSnapshot: break
        case .look: copy.isRefused = sees == false
        case .commit:
            copy.hasWritten = true
            copy.holdsLock = false
            copy.wroteBehindFence = fence == .committed
        }
        return copy
    }
}
