import Coordination
import EventLoops
import Journals
import Logging
import Processes
import Sharding

/// Carries out what one move asks for, until the move is over or the term is.
final class MoveRunner: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// What a runner needs of the conductor, and tells it.
    struct Surroundings {
        let workshop: Workshop
        let progress: ProgressBoard
        let journal: JournalWriter
        let log: Logger
        /// Another move follows from this one.
        let start: (MoveSpec) async throws -> Void
    }

    private(set) var move: BucketMove
    private let loop: EventLoop
    private let around: Surroundings
    private let events: Mailbox<MoveEvent>
    private var work: Task<Void, Never>?
    private var limit: LoopTimer?
    private var timers: [Int: LoopTimer] = [:]
    private var journalledStep: MoveStep?
    private var isOver = false
    /// Of the work that is still to answer.
    private var presentTurn: Int?
    private var pause = PauseWatch()

    init(_ move: BucketMove, loop: EventLoop, _ around: Surroundings) {
        self.move = move
        self.loop = loop
        self.around = around
        events = Mailbox(loop: loop)
    }

    func tell(_ event: MoveEvent) { events.post(event) }

    /// Runs the move to its end; throws when the term is over.
    func run() async throws {
        defer { stop() }
        events.post(.begin)
        while !isOver, let event = await events.next() {
            let effects = move.handle(event)
            for effect in effects { try await carryOut(effect) }
        }
        // The end itself must be in the journal before anybody acts on it.
        if isOver { try await around.journal.settle() }
    }

    private func stop() {
        presentTurn = nil
        work?.cancel()
        limit?.cancel()
        for timer in timers.values { timer.cancel() }
        around.journal.stop()
        around.progress.drop(move.spec.id)
    }

    private func carryOut(_ effect: MoveEffect) async throws {
        switch effect {
        case .journal:
            let isNew = noticeStep(.before)
            try await around.journal.write(move)
            if isNew { Failpoint.reach(move.step.rawValue, .after) }
        case .note:
            let isNew = noticeStep(.before)
            around.journal.note(move)
            if isNew { Failpoint.reach(move.step.rawValue, .after) }
        case .perform(let work, let turn, let limit): perform(work, turn, limit)
        case .wait(let time, let turn): wait(time, turn)
        case .start(let spec): try await around.start(spec)
        case .finished: isOver = true
        }
    }

    /// Whether the move has come to a step that the journal does not have yet.
    private func noticeStep(_ side: Failpoint.Side) -> Bool {
        guard journalledStep != move.step else { return false }
        journalledStep = move.step
        Failpoint.reach(move.step.rawValue, side)
        around.log.info(
            "step",
            metadata: ["move": "\(move.spec.id)", "step": "\(move.step.rawValue)"]
        )
        return true
    }

    private func wait(_ time: Duration, _ turn: Int) {
        around.progress.change(move.spec.id) { $0.work = "" }
        timers[turn] = loop.after(time) {
            self.timers[turn] = nil
            self.events.post(.waited(turn: turn))
        }
    }

    /// One piece of work at a time: an earlier one is no longer wanted.
    private func perform(_ wanted: MoveWork, _ turn: Int, _ limit: Duration?) {
        work?.cancel()
        self.limit?.cancel()
        presentTurn = turn
        pause.begins(wanted)
        around.progress.change(move.spec.id) { $0.work = wanted.name }
        let spec = move.spec
        let workshop = around.workshop
        let task = loop.spawnTask {
            do {
                Failpoint.reach(wanted.name, .before)
                let fact = try await workshop.carryOut(wanted, of: spec)
                Failpoint.reach(wanted.name, .after)
                self.ended(wanted, turn, .success(fact))
            } catch {
                self.ended(wanted, turn, .failure(Self.failure(error)))
            }
        }
        work = task
        // Whoever does not answer in time may still do it: it is asked to stop, and nobody waits until it has.
        self.limit = limit.map { limit in
            loop.after(limit) {
                self.ended(wanted, turn, .failure(Self.silence(limit)))
                task.cancel()
            }
        }
    }

    private func ended(
        _ work: MoveWork,
        _ turn: Int,
        _ result: Result<MoveFact, MoveFailure>
    ) {
        guard turn == presentTurn else { return }
        presentTurn = nil
        limit?.cancel()
        switch result {
        case .success(let fact):
            learn(fact, from: work)
            events.post(.done(turn: turn, fact))
        case .failure(let failure):
            around.log.warning(
                "work failed",
                metadata: [
                    "move": "\(move.spec.id)", "work": "\(work.name)", "error": "\(failure)",
                ]
            )
            events.post(.failed(turn: turn, failure))
        }
    }

    private func learn(_ fact: MoveFact, from work: MoveWork) {
        around.progress.change(move.spec.id) { progress in
            switch fact {
            case .size(let rows, let bytes):
                (progress.totalRows, progress.totalBytes) = (rows, bytes)
            case .copied(let rows, let bytes): (progress.rows, progress.bytes) = (rows, bytes)
            case .lag(let bytes, _): progress.lagBytes = bytes
            default: break
            }
        }
        guard let took = pause.ends(work) else { return }
        move.pauseMilliseconds = took
        around.progress.change(move.spec.id) { $0.pauseMilliseconds = took }
        around.log.notice(
            "activated",
            metadata: ["move": "\(move.spec.id)", "pause_ms": "\(took)"]
        )
    }

    private static func failure(_ error: any Error) -> MoveFailure {
        switch error {
        case let failure as MoveFailure: failure
        default: MoveFailure(kind: .transient, message: "\(error)")
        }
    }

    private static func silence(_ limit: Duration) -> MoveFailure {
        MoveFailure(kind: .transient, message: "no answer within \(limit)")
    }
}

/// Measures from the fence to the activation of the same attempt.
private struct PauseWatch {
    private var fencedAt: UInt64?

    mutating func begins(_ work: MoveWork) {
        switch work {
        case .fence: fencedAt = EventLoop.nanoseconds
        case .giveUp: fencedAt = nil
        default: break
        }
    }

    /// Milliseconds, when this work was the end of a pause.
    mutating func ends(_ work: MoveWork) -> Double? {
        guard case .activate = work, let began = fencedAt.take() else { return nil }
        return Double((EventLoop.nanoseconds - began) / 10_000) / 100
    }
}
