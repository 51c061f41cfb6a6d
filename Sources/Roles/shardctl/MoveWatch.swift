import Administration
import Coordination
import Etcd
import Glibc
import JSON
import Journals
import Sharding

/// Shows how far the moves are: on a terminal as a picture that is drawn again, elsewhere as one line for each change.
struct MoveWatch {
    private static let interval = Duration.seconds(1)

    /// How long a lost etcd is waited for before the watcher gives up; the moves go on without it.
    private static let patience = 60

    private let cluster: Cluster
    private let output: OutputOptions
    private let isTerminal: Bool

    init(_ cluster: Cluster, _ output: OutputOptions) {
        self.cluster = cluster
        self.output = output
        isTerminal = isatty(STDOUT_FILENO) == 1
    }

    /// Until somebody ends it by a signal.
    func forever() async throws -> Never {
        var screen = Screen(isTerminal: isTerminal, output)
        while true {
            let state = try await patiently()
            screen.show(state, lines: state.text)
            try await Task.sleep(for: Self.interval)
        }
    }

    /// Until every move of the plan is done; throws when one was taken back.
    func untilDone(_ plan: PlanRecord) async throws {
        var screen = Screen(isTerminal: isTerminal, output)
        let began = ContinuousClock.now
        while true {
            let state = try await patiently()
            let mine = plan.moves.map { state.move($0.spec.id) }
            guard state.intent.approved == plan.fingerprint else {
                throw Failure(
                    .unhealthy,
                    "the plan was dropped (shardctl abort) before it was done"
                )
            }
            screen.show(state, lines: Self.summary(plan, mine) + "\n" + state.text)
            if mine.allSatisfy({ $0?.isDone ?? false }) {
                return try report(plan, mine.compactMap { $0 }, state, since: began)
            }
            try await Task.sleep(for: Self.interval)
        }
    }

    private static func summary(_ plan: PlanRecord, _ moves: [BucketMove?]) -> String {
        let total = plan.moves.reduce(0) { $0 + $1.bytes }
        let done = zip(plan.moves, moves).filter { $1?.isDone ?? false }
        let bytes = done.reduce(0) { $0 + $1.0.bytes }
        let share = total == 0 ? 1 : Double(bytes) / Double(total)
        return "\(bar(share)) \(done.count) of \(moves.count) moves, \(megabytes(bytes)) of "
            + megabytes(total)
    }

    private func report(
        _ plan: PlanRecord,
        _ moves: [BucketMove],
        _ state: ControlState,
        since began: ContinuousClock.Instant
    ) throws {
        let undone = moves.filter { $0.step == .undone }
        let took = Double((ContinuousClock.now - began).components.seconds)
        output.print(
            "\(moves.count - undone.count) of \(moves.count) moves are done, in \(duration(took))"
        ) { json in
            json.field("fingerprint", plan.fingerprint)
            json.field("moved", moves.count - undone.count)
            json.field("undone", undone.count)
            json.field("seconds", took)
            json.key("moves")
            json.array { json in
                for move in moves { state.view(move).write(to: &json) }
            }
        }
        guard undone.isEmpty else {
            let first = undone[0]
            throw Failure(
                .unhealthy,
                "\(undone.count) moves were taken back; \(first.spec.id): \(first.undoing ?? "-"); "
                    + "mend that, then shardctl apply"
            )
        }
    }

    /// The present state; etcd may be away for a while.
    private func patiently() async throws -> ControlState {
        var failures = 0
        while true {
            do {
                return try await cluster.controlState()
            } catch let error as EtcdError {
                failures += 1
                guard failures < Self.patience else { throw error }
                try await Task.sleep(for: Self.interval)
            }
        }
    }
}

/// Where the picture is drawn.
private struct Screen {
    let isTerminal: Bool
    let output: OutputOptions
    private var drawn = 0
    private var steps: [MoveID: MoveStep] = [:]

    init(isTerminal: Bool, _ output: OutputOptions) {
        self.isTerminal = isTerminal
        self.output = output
    }

    mutating func show(_ state: ControlState, lines text: String) {
        guard !output.json else { return }
        guard isTerminal else { return tell(state) }
        let width = Self.width
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { String($0.prefix(width)) }
        // Up to where the last picture began, and clear from there on.
        let up = drawn > 0 ? "\u{1B}[\(drawn)A\r\u{1B}[J" : ""
        output.progress(up + lines.joined(separator: "\n"))
        drawn = lines.count
    }

    /// One line for each move that has come further.
    private mutating func tell(_ state: ControlState) {
        for move in state.moves where steps[move.spec.id] != move.step {
            let known = steps.updateValue(move.step, forKey: move.spec.id)
            // What was over before the watch began is no news.
            guard known != nil || !move.step.isFinal else { continue }
            output.progress(
                "\(move.spec.id) \(move.spec.source)→\(move.spec.target) "
                    + "\(move.spec.buckets.count) buckets: \(move.step.rawValue)"
                    + (move.undoing.map { " (\($0))" } ?? "")
            )
        }
    }

    private static var width: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 20 else {
            return 120
        }
        return Int(size.ws_col)
    }
}
