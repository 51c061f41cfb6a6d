import Glibc

/// The event loops of a process, one thread each.
package final class LoopGroup: Sendable {
    package let loops: [EventLoop]
    private let threads: [LoopThread]

    /// Starts `count` loops.
    package init(count: Int, name: String = "loop") {
        precondition(count > 0)
        let loops = (0..<count).map { EventLoop(name: "\(name)-\($0)", index: $0) }
        self.loops = loops
        threads = loops.map { LoopThread($0) }
    }

    /// Stops every loop and waits until their threads have ended.
    package func stopAndJoin() {
        for loop in loops { loop.stop() }
        for thread in threads { thread.join() }
    }
}

/// A POSIX thread that runs one loop.
private struct LoopThread: @unchecked Sendable {
    // @unchecked: a pthread_t is a plain identifier.
    private let id: pthread_t

    init(_ loop: EventLoop) {
        var id = pthread_t()
        let status = pthread_create(
            &id,
            nil,
            { argument in
                Unmanaged<EventLoop>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            },
            Unmanaged.passRetained(loop).toOpaque()
        )
        precondition(status == 0, "pthread_create: \(status)")
        self.id = id
    }

    func join() {
        pthread_join(id, nil)
    }
}
