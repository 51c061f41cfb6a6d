package import Coordination
package import EventLoops
internal import JSON

/// Writes one move to the journal, one write at a time, always the newest.
///
/// A note need not wait: the next entry says all that it said, so of several that come while one is being written
/// the last alone is written.
package final class JournalWriter: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Between two tries when etcd does not answer.
    private static let retryPause = Duration.milliseconds(250)

    private let loop: EventLoop
    private let store: MoveStore
    private let term: LeaderTerm
    private let id: MoveID
    private var newest: [UInt8] = []
    private var asked = 0
    private var written = 0
    private var failure: (any Error)?
    private var writing: Task<Void, Never>?
    private var waiting: [(version: Int, CheckedContinuation<Void, any Error>)] = []

    package init(loop: EventLoop, store: MoveStore, term: LeaderTerm, id: MoveID) {
        self.loop = loop
        self.store = store
        self.term = term
        self.id = id
    }

    /// Has the move written some time.
    package func note(_ move: BucketMove) {
        newest = move.jsonBytes
        asked += 1
        begin()
    }

    /// Writes the move, and returns when it is in the journal; throws ``NotLeading`` when it will never be.
    package func write(_ move: BucketMove) async throws {
        note(move)
        try await settle()
    }

    /// Returns when all that was asked for is written.
    package func settle() async throws {
        let version = asked
        guard written < version else { return }
        if let failure { throw failure }
        try await withCheckedThrowingContinuation { waiting.append((version, $0)) }
    }

    /// Nothing more is written; whoever waits is told.
    package func stop() {
        writing?.cancel()
        fail(NotLeading())
    }

    private func begin() {
        guard writing == nil, failure == nil else { return }
        writing = loop.spawnTask { await self.writeAll() }
    }

    private func writeAll() async {
        while written < asked, failure == nil {
            let version = asked
            do {
                try await store.write(id, newest, in: term)
                written = version
                wake()
            } catch let error as NotLeading {
                fail(error)
            } catch {
                // etcd does not answer. The write compares the leader's key, so it may be repeated for ever.
                do { try await loop.sleep(for: Self.retryPause) } catch { fail(NotLeading()) }
            }
        }
        writing = nil
    }

    private func wake() {
        let due = waiting.filter { $0.version <= written }
        waiting.removeAll { $0.version <= written }
        for (_, continuation) in due { continuation.resume() }
    }

    private func fail(_ error: any Error) {
        failure = failure ?? error
        let all = waiting
        waiting.removeAll()
        for (_, continuation) in all { continuation.resume(throwing: error) }
    }
}
