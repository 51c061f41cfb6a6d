internal import CLibuv
internal import EventLoops

/// Watches a descriptor that somebody else owns.
///
/// libpq may close and replace its socket while it connects, so the watcher is closed *before* libpq is called
/// then, and the connection is freed only after the watcher has gone.
final class SocketPoll {
    private let handle = UnsafeMutablePointer<uv_poll_t>.allocate(capacity: 1)
    private var onEvent: ((_ status: Int32, _ events: Int32) -> Void)?
    private var onClosed: (() -> Void)?

    static let readable = Int32(UV_READABLE.rawValue)
    static let writable = Int32(UV_WRITABLE.rawValue)

    /// Nil if libuv cannot watch the descriptor.
    init?(
        loop: EventLoop,
        descriptor: Int32,
        onEvent: @escaping (_ status: Int32, _ events: Int32) -> Void
    ) {
        guard descriptor >= 0, uv_poll_init(loop.uv, handle, descriptor) == 0 else {
            handle.deallocate()
            return nil
        }
        self.onEvent = onEvent
        // Balanced in the close callback: libuv writes to the handle until then.
        handle.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    func watch(_ events: Int32) {
        let status = uv_poll_start(handle, events) { handle, status, events in
            let me = Unmanaged<SocketPoll>.fromOpaque(handle!.pointee.data).takeUnretainedValue()
            me.onEvent?(status, events)
        }
        precondition(status == 0, "uv_poll_start: \(status)")
    }

    /// Watches nothing until ``watch(_:)``.
    func pause() { uv_poll_stop(handle) }

    /// Stops at once; `then` runs when libuv has let go of the handle.
    func close(then: (() -> Void)? = nil) {
        precondition(onEvent != nil, "closed twice")
        onEvent = nil
        onClosed = then
        uv_poll_stop(handle)
        let base = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self)
        uv_close(base) { base in
            let me = Unmanaged<SocketPoll>.fromOpaque(base!.pointee.data).takeRetainedValue()
            me.handle.deallocate()
            me.onClosed?()
        }
    }
}
