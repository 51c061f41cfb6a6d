import CRuntime
import Glibc

/// A few named threads for work that computes long or blocks: password hashing, image work, files.
///
/// The queue is bounded: beyond it ``run(_:)`` throws ``Full`` at once, which callers turn into a 503. The
/// awaiting task comes back to its own loop. Work that has begun is not interrupted by cancellation; work
/// that still waits in the queue is dropped and throws `CancellationError`.
package final class Offload: Sendable {
    /// The queue is at its bound.
    package struct Full: Error, Sendable {}

    private let queue: WorkQueue

    package init(threads: Int, queueLimit: Int, name: String) {
        precondition(threads > 0 && queueLimit > 0)
        queue = WorkQueue(limit: queueLimit)
        for index in 0..<threads { WorkThread.start(queue, name: "\(name)-\(index)") }
    }

    deinit {
        queue.close()
    }

    /// Work that waits for a thread.
    package var waiting: Int { queue.count }

    /// Runs `body` on one of the threads and returns what it returns.
    package func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        let ticket = Ticket<T>(body)
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                ticket.begin(continuation)
                if !queue.append({ ticket.run() }) { ticket.finish(.failure(Full())) }
            }
        } onCancel: {
            ticket.cancel()
        }
    }
}

/// One call of ``Offload/run(_:)``: resumes its caller exactly once.
private final class Ticket<T: Sendable>: @unchecked Sendable {
    // @unchecked: the fields are guarded by `lock`.
    private let lock = PthreadLock()
    private var body: (@Sendable () throws -> T)?
    private var continuation: UnsafeContinuation<T, any Error>?
    private var cancelled = false

    init(_ body: @escaping @Sendable () throws -> T) { self.body = body }

    func begin(_ continuation: UnsafeContinuation<T, any Error>) {
        let late = lock.locked {
            if !cancelled { self.continuation = continuation }
            return cancelled
        }
        if late { continuation.resume(throwing: CancellationError()) }
    }

    func run() {
        let work = lock.locked { body.take() }
        guard let work else { return }
        finish(Result { try work() })
    }

    func cancel() {
        let waiting = lock.locked {
            cancelled = true
            return body.take() != nil
        }
        if waiting { finish(.failure(CancellationError())) }
    }

    func finish(_ result: Result<T, any Error>) {
        let waiter = lock.locked {
            body = nil
            return continuation.take()
        }
        waiter?.resume(with: result)
    }
}

/// A bounded queue between callers and threads.
private final class WorkQueue: @unchecked Sendable {
    // @unchecked: `work` and `closed` are guarded by `lock`.
    private let lock = PthreadLock()
    private let limit: Int
    private var work = Ring<@Sendable () -> Void>()
    private var closed = false

    init(limit: Int) { self.limit = limit }

    var count: Int { lock.locked { work.count } }

    func append(_ item: @escaping @Sendable () -> Void) -> Bool {
        lock.locked {
            guard !closed, work.count < limit else { return false }
            work.append(item)
            lock.signal()
            return true
        }
    }

    /// Waits for work; nil once the queue is closed and empty.
    func next() -> (@Sendable () -> Void)? {
        lock.locked {
            while work.isEmpty && !closed { lock.wait() }
            return work.popFirst()
        }
    }

    func close() {
        lock.locked {
            closed = true
            lock.broadcast()
        }
    }
}

private enum WorkThread {
    final class Start {
        let queue: WorkQueue
        let name: String
        init(queue: WorkQueue, name: String) {
            self.queue = queue
            self.name = name
        }
    }

    static func start(_ queue: WorkQueue, name: String) {
        var id = pthread_t()
        let start = Unmanaged.passRetained(Start(queue: queue, name: name)).toOpaque()
        let status = pthread_create(
            &id,
            nil,
            { argument in
                let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
                tessera_name_thread(start.name)
                while let work = start.queue.next() { work() }
                return nil
            },
            start
        )
        precondition(status == 0, "pthread_create: \(status)")
        pthread_detach(id)
    }
}

/// A mutex with a condition; `Synchronization.Mutex` has none to wait on.
private final class PthreadLock: @unchecked Sendable {
    // @unchecked: the memory is only handed to pthread functions, which are made for sharing.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        precondition(pthread_mutex_init(mutex, nil) == 0)
        precondition(pthread_cond_init(condition, nil) == 0)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func locked<T>(_ body: () -> T) -> T {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    func wait() { pthread_cond_wait(condition, mutex) }
    func signal() { pthread_cond_signal(condition) }
    func broadcast() { pthread_cond_broadcast(condition) }
}
