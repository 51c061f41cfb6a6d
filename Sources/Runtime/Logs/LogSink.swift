import Glibc
import Synchronization

/// A bounded queue of lines and the thread that writes them to a descriptor.
///
/// A reader that stops reading (a full pipe) makes lines fall away, counted, and never blocks a loop.
package final class LogSink: Sendable {
    /// How many bytes may wait to be written.
    package static let queueLimitBytes = 4 << 20

    private struct State {
        var waiting: [UInt8] = []
        var dropped = 0
        var droppedEver = 0
        var writing = false
        var closed = false
    }

    private let state = Mutex<State>(State())
    // unsafe: a POSIX semaphore may be posted and waited for by any thread; it outlives the writer.
    private nonisolated(unsafe) let wake: UnsafeMutablePointer<sem_t>
    private let descriptor: Int32
    private let queueLimitBytes: Int

    /// Starts the writer; it lives as long as the process, or until ``close()``.
    package init(descriptor: Int32 = STDERR_FILENO, queueLimitBytes: Int = LogSink.queueLimitBytes)
    {
        self.descriptor = descriptor
        self.queueLimitBytes = queueLimitBytes
        wake = .allocate(capacity: 1)
        precondition(sem_init(wake, 0, 0) == 0, "sem_init")
        var thread = pthread_t()
        let status = pthread_create(
            &thread,
            nil,
            { argument in
                Unmanaged<LogSink>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            },
            Unmanaged.passRetained(self).toOpaque()
        )
        precondition(status == 0, "pthread_create: \(status)")
        pthread_detach(thread)
    }

    deinit {
        // The thread holds a reference, so it has ended when this runs.
        sem_destroy(wake)
        wake.deallocate()
    }

    /// Lines that fell away since the start.
    package var dropped: Int { state.withLock { $0.droppedEver } }

    package func write(_ line: [UInt8]) {
        let first = state.withLock { state in
            guard !state.closed, state.waiting.count + line.count <= queueLimitBytes else {
                state.dropped += 1
                state.droppedEver += 1
                return false
            }
            state.waiting.append(contentsOf: line)
            return state.waiting.count == line.count
        }
        if first { sem_post(wake) }
    }

    /// Waits, at most `limit`, until what is queued has been written.
    package func flush(within limit: Duration = .seconds(2)) {
        let deadline = ContinuousClock.now + limit
        while state.withLock({ !$0.waiting.isEmpty || $0.writing }), .now < deadline {
            usleep(1_000)
        }
    }

    /// Ends the writer once the queue is empty.
    package func close() {
        state.withLock { $0.closed = true }
        sem_post(wake)
    }

    private func run() {
        while true {
            while sem_wait(wake) != 0 && errno == EINTR {}
            let (batch, dropped, closed) = state.withLock { state in
                defer {
                    state.waiting = []
                    state.dropped = 0
                    state.writing = true
                }
                return (state.waiting, state.dropped, state.closed)
            }
            if dropped > 0 { put(notice(of: dropped)) }
            put(batch)
            state.withLock { $0.writing = false }
            if closed { return }
        }
    }

    private func notice(of dropped: Int) -> [UInt8] {
        Array(
            "{\"level\":\"warning\",\"logger\":\"logs\",\"message\":\"lines dropped\",\"count\":\(dropped)}\n"
                .utf8
        )
    }

    private func put(_ bytes: [UInt8]) {
        var start = 0
        while start < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress! + start, bytes.count - start)
            }
            if count > 0 {
                start += count
            } else if count < 0 && errno == EAGAIN {
                var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                Glibc.poll(&poll, 1, 1_000)
            } else if !(count < 0 && errno == EINTR) {
                // Nobody reads any more; there is no place left to say so.
                return
            }
        }
    }
}
