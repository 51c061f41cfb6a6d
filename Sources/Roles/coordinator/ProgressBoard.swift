import Coordination
import EventLoops
import Journals
import Sharding

/// Gathers what the running moves tell of themselves, and shows it to `status --watch` once a second at most.
final class ProgressBoard: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private static let interval = Duration.seconds(1)

    private let loop: EventLoop
    private let store: ProgressStore
    private let term: LeaderTerm
    private let workshop: Workshop
    private var shown: [MoveID: MoveProgress] = [:]
    private var newest: [MoveID: MoveProgress] = [:]
    private var rates: [MoveID: Rate] = [:]

    /// What the speed is reckoned from.
    private struct Rate {
        var bytes: Int64
        var at: UInt64
    }

    init(loop: EventLoop, store: ProgressStore, term: LeaderTerm, workshop: Workshop) {
        self.loop = loop
        self.store = store
        self.term = term
        self.workshop = workshop
    }

    func change(_ id: MoveID, _ body: (inout MoveProgress) -> Void) {
        loop.assertOnLoop()
        var progress = newest[id] ?? MoveProgress()
        if progress.since == 0 { progress.since = Timestamp.now.seconds }
        body(&progress)
        newest[id] = progress
    }

    func drop(_ id: MoveID) {
        newest[id] = nil
        rates[id] = nil
    }

    /// Until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            // Ends early only by cancellation, which the loop's condition sees.
            do { try await loop.sleep(for: Self.interval) } catch { return }
            await show()
        }
    }

    private func show() async {
        for (id, progress) in newest where shown[id] != reckoned(progress, id) {
            // Nobody depends on these numbers; the next second has newer ones.
            try? await store.write(newest[id] ?? progress, of: id, in: term)
            shown[id] = newest[id]
        }
        for id in shown.keys where newest[id] == nil {
            shown[id] = nil
            // As above; it also ends with the lease.
            try? await store.remove(id)
        }
    }

    /// The same with the speed since it was last reckoned.
    private func reckoned(_ progress: MoveProgress, _ id: MoveID) -> MoveProgress {
        let now = EventLoop.nanoseconds
        var progress = progress
        if let copied = workshop.copied(by: id) {
            (progress.rows, progress.bytes) = (copied.rows, copied.bytes)
        }
        if let last = rates[id], progress.bytes >= last.bytes {
            let seconds = Double(now - last.at) / 1e9
            progress.bytesPerSecond = Int64(
                Double(progress.bytes - last.bytes) / max(seconds, 0.001)
            )
        }
        rates[id] = Rate(bytes: progress.bytes, at: now)
        newest[id] = progress
        return progress
    }
}
