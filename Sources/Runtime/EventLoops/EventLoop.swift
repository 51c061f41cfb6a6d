package import CLibuv
import CRuntime
import Glibc
import Synchronization

/// One libuv loop on a thread of its own, which is also a Swift executor.
///
/// Whatever is bound to a loop (connections, pools, timers) is touched on its thread only; `assertOnLoop`
/// checks this. Tasks started by ``spawn(_:)`` stay on the loop across every `await`, so that an ordinary
/// request never changes threads. The rules behind this are measured in `docs/decisions/0001-event-loop.md`.
package final class EventLoop: TaskExecutor, @unchecked Sendable {
    // @unchecked: the fields below `inbox` are touched on the loop's thread only; `inbox` is a Mutex and
    // `wakePending` is atomic.

    /// How many jobs one turn may run before the loop polls its sockets again.
    package static let jobsPerTurn = 4096

    /// A turn longer than this is reported by ``onSlowTurn``: something blocked the loop.
    package static let slowTurn = Duration.milliseconds(5)

    package let name: String
    package let index: Int

    /// libuv's loop; only for code that runs on this loop.
    package let uv: UnsafeMutablePointer<uv_loop_t>

    /// Shared by every reader on this loop: libuv fills it and calls back before the next read.
    package let readBuffer = UnsafeMutableRawBufferPointer.allocate(
        byteCount: 65_536,
        alignment: 16
    )

    /// Called on the loop after a turn that took longer than ``slowTurn``.
    package var onSlowTurn: (@Sendable (_ loop: EventLoop, _ took: Duration) -> Void)?

    private let inbox = Mutex<[Inbound]>([])
    private let wakePending = Atomic<Bool>(false)
    private let wakeDescriptor: Int32

    private var ring = Ring<UnownedJob>()
    private var flushers: [() -> Void] = []
    private var timers = TimerHeap()
    private var liveTasks = 0
    private var stopping = false
    private var turnStart: UInt64 = 0
    private var idleBefore: UInt64 = 0
    private var stopBodies: [() -> Void] = []

    private let prepare = UnsafeMutablePointer<uv_prepare_t>.allocate(capacity: 1)
    private let check = UnsafeMutablePointer<uv_check_t>.allocate(capacity: 1)
    private let idle = UnsafeMutablePointer<uv_idle_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<uv_poll_t>.allocate(capacity: 1)
    private let clock = UnsafeMutablePointer<uv_timer_t>.allocate(capacity: 1)

    package private(set) var statistics = Statistics()

    /// Counters of one loop since its start.
    package struct Statistics: Sendable {
        package var turns = 0
        package var slowTurns = 0
        package var longestTurn = Duration.zero
        /// Time spent on work, as opposed to waiting for it.
        package var busy = Duration.zero
    }

    private enum Inbound {
        case job(UnownedJob)
        case work(@Sendable () -> Void)
    }

    /// A write to a closed socket is an error to handle, not a signal that ends the process.
    private static let ignoresBrokenPipes: Bool = {
        // Cannot fail for a signal that exists.
        _ = signal(SIGPIPE, SIG_IGN)
        return true
    }()

    package init(name: String = "loop", index: Int = 0) {
        precondition(EventLoop.ignoresBrokenPipes)
        self.name = name
        self.index = index
        uv = .allocate(capacity: 1)
        EventLoop.must(uv_loop_init(uv), "uv_loop_init")
        EventLoop.must(tessera_measure_idle_time(uv), "uv_loop_configure")
        wakeDescriptor = tessera_eventfd()
        precondition(wakeDescriptor >= 0, "eventfd: \(wakeDescriptor)")

        let me = Unmanaged.passUnretained(self).toOpaque()
        uv.pointee.data = me
        EventLoop.must(uv_prepare_init(uv, prepare), "uv_prepare_init")
        EventLoop.must(uv_check_init(uv, check), "uv_check_init")
        EventLoop.must(uv_idle_init(uv, idle), "uv_idle_init")
        EventLoop.must(uv_timer_init(uv, clock), "uv_timer_init")
        EventLoop.must(uv_poll_init(uv, wake, wakeDescriptor), "uv_poll_init")
        EventLoop.must(
            uv_prepare_start(prepare) { EventLoop.owner($0).beforePoll() },
            "uv_prepare_start"
        )
        EventLoop.must(uv_check_start(check) { EventLoop.owner($0).afterPoll() }, "uv_check_start")
        EventLoop.must(
            uv_poll_start(wake, Int32(UV_READABLE.rawValue)) { handle, _, _ in
                EventLoop.owner(handle).readWake()
            },
            "uv_poll_start"
        )
    }

    deinit {
        close(wakeDescriptor)
        readBuffer.deallocate()
        prepare.deallocate()
        check.deallocate()
        idle.deallocate()
        wake.deallocate()
        clock.deallocate()
        uv.deallocate()
    }

    // MARK: Where am I

    /// The loop that owns the calling thread.
    package static var current: EventLoop? {
        tessera_current_loop().map { Unmanaged<EventLoop>.fromOpaque($0).takeUnretainedValue() }
    }

    package var isOnLoop: Bool {
        tessera_current_loop() == UnsafeMutableRawPointer(Unmanaged.passUnretained(self).toOpaque())
    }

    @inline(__always)
    package func assertOnLoop(file: StaticString = #fileID, line: UInt = #line) {
        precondition(isOnLoop, "called off its loop", file: file, line: line)
    }

    // MARK: Running work

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isOnLoop {
            ring.append(job)
        } else {
            send(.job(job))
        }
    }

    /// Runs `work` on the loop's thread, soon but not within this call. May be called from any thread,
    /// whose calls keep their order.
    package func execute(_ work: @escaping @Sendable () -> Void) {
        if isOnLoop { flushers.append(work) } else { send(.work(work)) }
    }

    /// Starts a task that runs on this loop, at once if the caller is on it.
    ///
    /// This is the one place where unstructured tasks begin: requests, connections of pools and background
    /// drivers. The loop counts them and does not close before they have ended.
    package func spawn(_ body: @escaping @Sendable () async -> Void) {
        guard isOnLoop else {
            execute { self.spawn(body) }
            return
        }
        taskBegan()
        Task.immediate(executorPreference: self) {
            await body()
            self.taskEnded()
        }
    }

    /// Starts a task like ``spawn(_:)`` and returns it, for callers that may cancel it; on the loop only.
    package func spawnTask(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        taskBegan()
        return Task.immediate(executorPreference: self) {
            await body()
            self.taskEnded()
        }
    }

    /// Counts a task that its starter begins itself with `Task.immediate(executorPreference:)`, which saves
    /// a call per request; ``taskEnded()`` is its last act.
    package func taskBegan() {
        assertOnLoop()
        liveTasks += 1
    }

    package func taskEnded() {
        assertOnLoop()
        liveTasks -= 1
        if stopping { closeHandlesIfQuiet() }
    }

    /// Runs `body` once, after the jobs of this turn have run and before the loop waits for events.
    ///
    /// What gathers work during a turn (a pipeline sync, a multi-get, a corked write) sends it here.
    package func atEndOfTurn(_ body: @escaping () -> Void) {
        assertOnLoop()
        flushers.append(body)
    }

    /// Runs the tasks that are ready, from inside of a socket's callback; what waits for the end of the turn still does.
    ///
    /// For large answers that others wait for: each is passed on while it is in the processor's cache, and its memory
    /// serves the next one, where all that has arrived would be taken in first.
    package func runReady() {
        assertOnLoop()
        var budget = EventLoop.jobsPerTurn
        runRing(&budget)
    }

    // MARK: Time

    /// Monotonic nanoseconds.
    package static var nanoseconds: UInt64 { uv_hrtime() }

    /// Monotonic milliseconds at the start of this turn: cheap and exact enough for timeouts.
    package var milliseconds: UInt64 { uv_now(uv) }

    /// Calls `body` on this loop after `delay`, at the earliest, unless the timer is cancelled first.
    @discardableResult
    package func after(_ delay: Duration, _ body: @escaping () -> Void) -> LoopTimer {
        assertOnLoop()
        // In a long turn the cached time is old, and the timer would fire too early.
        uv_update_time(uv)
        let timer = LoopTimer(
            deadline: uv_now(uv) + delay.wholeMilliseconds,
            body: body,
            loop: self
        )
        timers.insert(timer)
        if timers.first === timer { armClock() }
        return timer
    }

    /// Suspends the task for `delay`; throws `CancellationError` as soon as it is cancelled.
    package func sleep(for delay: Duration) async throws {
        let sleeper = Sleeper(loop: self)
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { sleeper.start(delay, $0) }
        } onCancel: {
            self.execute { sleeper.cancel() }
        }
        try Task.checkCancellation()
    }

    func cancel(_ timer: LoopTimer) {
        assertOnLoop()
        timers.remove(timer)
    }

    private func armClock() {
        guard let next = timers.first else { return }
        let now = uv_now(uv)
        let wait = next.deadline > now ? next.deadline - now : 0
        EventLoop.must(
            uv_timer_start(clock, { EventLoop.owner($0).fireTimers() }, wait, 0),
            "uv_timer_start"
        )
    }

    private func fireTimers() {
        let now = uv_now(uv)
        while let timer = timers.first, timer.deadline <= now {
            timers.remove(timer)
            timer.fire()
        }
        armClock()
    }

    // MARK: Life

    /// Runs the loop on the calling thread until ``stop()`` and until every task has ended.
    package func run() {
        precondition(EventLoop.current == nil, "this thread already runs a loop")
        tessera_set_current_loop(Unmanaged.passUnretained(self).toOpaque())
        tessera_name_thread(name)
        uv_run(uv, UV_RUN_DEFAULT)
        EventLoop.must(uv_loop_close(uv), "uv_loop_close")
        tessera_set_current_loop(nil)
    }

    /// Registers what must be closed before the loop can end, last registered first.
    package func onStop(_ body: @escaping () -> Void) {
        assertOnLoop()
        stopBodies.append(body)
    }

    /// Ends the loop once its tasks have ended. May be called from any thread, more than once.
    package func stop() {
        execute {
            guard !self.stopping else { return }
            self.stopping = true
            for body in self.stopBodies.reversed() { body() }
            self.stopBodies.removeAll()
            self.closeHandlesIfQuiet()
        }
    }

    private func closeHandlesIfQuiet() {
        guard liveTasks == 0, uv_is_closing(handle(wake)) == 0 else { return }
        for own in [handle(prepare), handle(check), handle(idle), handle(wake), handle(clock)] {
            uv_close(own, nil)
        }
    }

    // MARK: Turns

    private func beforePoll() {
        runJobs()
        finishTurn()
    }

    private func afterPoll() {
        runJobs()
    }

    private func runJobs() {
        var budget = EventLoop.jobsPerTurn
        takeInbox()
        while budget > 0, !(ring.isEmpty && flushers.isEmpty) {
            runRing(&budget)
            if !flushers.isEmpty {
                let due = flushers
                flushers.removeAll(keepingCapacity: true)
                budget -= due.count
                for flush in due { flush() }
            }
        }
        if ring.isEmpty && flushers.isEmpty {
            uv_idle_stop(idle)
        } else if uv_is_closing(handle(idle)) == 0 {
            // An active idle handle makes libuv poll without waiting, so the rest runs next turn.
            uv_idle_start(idle) { _ in }
        }
    }

    private func runRing(_ budget: inout Int) {
        while budget > 0, let job = ring.popFirst() {
            budget -= 1
            // Not isolated to the loop as a serial executor, which it is not: a task would then go
            // through the ring once more at each return of an async function.
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }

    /// Measures the turn that ends here: the time since the last one ended, less the wait in between.
    ///
    /// libuv calls back for sockets from inside of its poll, so only its own measure of the wait tells
    /// work from waiting.
    private func finishTurn() {
        let now = uv_hrtime()
        let idle = uv_metrics_idle_time(uv)
        defer {
            turnStart = now
            idleBefore = idle
        }
        guard turnStart != 0 else { return }
        let took = Duration.nanoseconds(Int64(now &- turnStart) - Int64(idle &- idleBefore))
        statistics.turns += 1
        statistics.busy += took
        if took > statistics.longestTurn { statistics.longestTurn = took }
        if took > EventLoop.slowTurn {
            statistics.slowTurns += 1
            onSlowTurn?(self, took)
        }
    }

    private func send(_ inbound: Inbound) {
        inbox.withLock { $0.append(inbound) }
        guard !wakePending.exchange(true, ordering: .acquiringAndReleasing) else { return }
        // libuv 1.44's uv_async_send spins in the receiver; an eventfd of our own does not.
        var one: UInt64 = 1
        while write(wakeDescriptor, &one, 8) < 0 && errno == EINTR {}
    }

    private func readWake() {
        var count: UInt64 = 0
        while read(wakeDescriptor, &count, 8) < 0 && errno == EINTR {}
        takeInbox()
    }

    private func takeInbox() {
        guard wakePending.load(ordering: .acquiring) else { return }
        wakePending.store(false, ordering: .sequentiallyConsistent)
        let arrived = inbox.withLock { queue in
            let all = queue
            queue.removeAll(keepingCapacity: true)
            return all
        }
        for inbound in arrived {
            switch inbound {
            case .job(let job): ring.append(job)
            case .work(let work): work()
            }
        }
    }

    private static func owner<Handle>(_ handle: UnsafeMutablePointer<Handle>?) -> EventLoop {
        let base = UnsafeMutableRawPointer(handle!).assumingMemoryBound(to: uv_handle_t.self)
        return Unmanaged<EventLoop>.fromOpaque(base.pointee.loop.pointee.data).takeUnretainedValue()
    }

    private func handle<Handle>(_ pointer: UnsafeMutablePointer<Handle>) -> UnsafeMutablePointer<
        uv_handle_t
    > {
        UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: uv_handle_t.self)
    }

    private static func must(_ status: Int32, _ call: StaticString) {
        precondition(status >= 0, "\(call): \(String(cString: uv_strerror(status)))")
    }
}

/// Resumes one sleeping task, once; touched on its loop only.
private final class Sleeper: @unchecked Sendable {
    // @unchecked: every method runs on `loop`.
    private let loop: EventLoop
    private var continuation: CheckedContinuation<Void, any Error>?
    private var timer: LoopTimer?
    private var cancelled = false

    init(loop: EventLoop) { self.loop = loop }

    func start(_ delay: Duration, _ continuation: CheckedContinuation<Void, any Error>) {
        loop.assertOnLoop()
        guard !cancelled else { return continuation.resume(throwing: CancellationError()) }
        self.continuation = continuation
        timer = loop.after(delay) { self.finish(.success(())) }
    }

    func cancel() {
        cancelled = true
        timer?.cancel()
        finish(.failure(CancellationError()))
    }

    private func finish(_ result: Result<Void, any Error>) {
        let waiting = continuation
        continuation = nil
        timer = nil
        waiting?.resume(with: result)
    }
}
