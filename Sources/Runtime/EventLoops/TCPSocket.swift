package import CLibuv
import CRuntime
import Glibc

/// What a socket tells its owner; every call comes on the loop.
package protocol SocketOwner: AnyObject {
    /// Bytes arrived; they lie in the loop's shared buffer and are gone after the call.
    func socketRead(_ bytes: UnsafeBufferPointer<UInt8>)
    /// The peer will send no more.
    func socketEnded()
    /// Reading or writing failed; the owner closes the socket.
    func socketFailed(_ code: Int32)
    /// A write that had to wait has gone out; more may still wait.
    func socketWrote()
    /// The handle is gone; no call follows.
    func socketClosed()
}

/// A TCP connection on one loop.
///
/// Writes go to the kernel at once and are copied into a queue only when it takes no more; the owner looks
/// at ``queuedBytes`` and bounds it. Reads use the loop's shared buffer, so an idle connection costs no buffer.
package final class TCPSocket: @unchecked Sendable {
    // @unchecked: touched on `loop` only.
    package let loop: EventLoop
    package let handle: UnsafeMutablePointer<uv_tcp_t>
    package private(set) var isClosed = false
    package private(set) var isReading = false

    /// Held strongly until the handle has closed.
    private var owner: (any SocketOwner)?

    package init(loop: EventLoop, owner: any SocketOwner) {
        loop.assertOnLoop()
        self.loop = loop
        self.owner = owner
        handle = .allocate(capacity: 1)
        // Fails for unknown flags only, and there are none.
        precondition(uv_tcp_init(loop.uv, handle) == 0)
        // Balanced in the close callback: the memory of the handle belongs to libuv until then.
        handle.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    deinit { handle.deallocate() }

    /// Whoever else is told from now on; the one before hears no more, not even of the end.
    package func handOver(to next: any SocketOwner) {
        loop.assertOnLoop()
        precondition(!isClosed, "a closed socket has nothing to tell")
        owner = next
    }

    // MARK: Opening

    /// Takes the next connection of a listening handle, whose `TCP_NODELAY` it inherits.
    package func accept(from server: UnsafeMutablePointer<uv_stream_t>) -> Int32 {
        uv_accept(server, stream)
    }

    /// Takes over a connected descriptor.
    package func open(descriptor: Int32) -> Int32 { uv_tcp_open(handle, descriptor) }

    /// Connects to a numeric address; `done` gets zero or libuv's error, once.
    package func connect(address: String, port: Int, done: @escaping (Int32) -> Void) {
        let request = UnsafeMutablePointer<uv_connect_t>.allocate(capacity: 1)
        request.pointee.data = Unmanaged.passRetained(Completion(done)).toOpaque()
        let status = tessera_tcp_connect(request, handle, address, UInt16(port)) {
            request,
            status in
            TCPSocket.finish(request!, status)
        }
        if status < 0 { TCPSocket.finish(request, status) } else { uv_tcp_nodelay(handle, 1) }
    }

    private final class Completion {
        let body: (Int32) -> Void
        init(_ body: @escaping (Int32) -> Void) { self.body = body }
    }

    private static func finish(_ request: UnsafeMutablePointer<uv_connect_t>, _ status: Int32) {
        let completion = Unmanaged<Completion>.fromOpaque(request.pointee.data).takeRetainedValue()
        request.deallocate()
        completion.body(status)
    }

    /// The peer's numeric address; empty once it is gone.
    package var peerAddress: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            tessera_tcp_peer(handle, buffer.baseAddress!, buffer.count) < 0
                ? "" : String(cString: buffer.baseAddress!)
        }
    }

    // MARK: Reading

    package func startReading() {
        guard !isClosed, !isReading else { return }
        isReading = true
        uv_read_start(
            stream,
            { handle, _, buffer in
                let shared = TCPSocket.of(handle).loop.readBuffer
                buffer!.pointee.base = shared.baseAddress!.assumingMemoryBound(to: CChar.self)
                buffer!.pointee.len = shared.count
            },
            { handle, count, buffer in TCPSocket.of(handle).read(count) }
        )
    }

    /// Leaves what the peer sends in the kernel, so that it has to wait.
    package func stopReading() {
        guard isReading else { return }
        isReading = false
        uv_read_stop(stream)
    }

    private func read(_ count: Int) {
        guard !isClosed else { return }
        if count > 0 {
            let bytes = UnsafeBufferPointer(
                start: loop.readBuffer.baseAddress!.assumingMemoryBound(to: UInt8.self),
                count: count
            )
            owner?.socketRead(bytes)
        } else if count == Int(UV_EOF.rawValue) {
            isReading = false
            owner?.socketEnded()
        } else if count < 0 {
            owner?.socketFailed(Int32(count))
        }
    }

    // MARK: Writing

    /// Bytes that the kernel has not taken yet.
    package var queuedBytes: Int { uv_stream_get_write_queue_size(stream) }

    /// Sends `first` and then `second`; returns libuv's error, or zero.
    ///
    /// Both are copied if the kernel does not take them now.
    package func write(
        _ first: UnsafeBufferPointer<UInt8>,
        _ second: UnsafeBufferPointer<UInt8> = UnsafeBufferPointer(start: nil, count: 0)
    ) -> Int32 {
        guard !isClosed else { return Int32(UV_ECANCELED.rawValue) }
        let total = first.count + second.count
        guard total > 0 else { return 0 }
        var taken = 0
        if queuedBytes == 0 {
            let status = tryWrite(first, second)
            if status < 0 && status != Int32(UV_EAGAIN.rawValue) { return status }
            taken = max(0, Int(status))
            if taken == total { return 0 }
        }
        return enqueue(first, second, from: taken)
    }

    private func tryWrite(
        _ first: UnsafeBufferPointer<UInt8>,
        _ second: UnsafeBufferPointer<UInt8>
    ) -> Int32 {
        var parts = (TCPSocket.buffer(first), TCPSocket.buffer(second))
        return withUnsafeMutablePointer(to: &parts) { parts in
            parts.withMemoryRebound(to: uv_buf_t.self, capacity: 2) { parts in
                first.isEmpty
                    ? uv_try_write(stream, parts + 1, 1)
                    : uv_try_write(stream, parts, second.isEmpty ? 1 : 2)
            }
        }
    }

    /// Copies what is left, with its request in front, into one allocation.
    private func enqueue(
        _ first: UnsafeBufferPointer<UInt8>,
        _ second: UnsafeBufferPointer<UInt8>,
        from taken: Int
    ) -> Int32 {
        let size = first.count + second.count - taken
        let header = MemoryLayout<uv_write_t>.size
        let memory = UnsafeMutableRawPointer.allocate(byteCount: header + size, alignment: 16)
        let request = memory.bindMemory(to: uv_write_t.self, capacity: 1)
        let bytes = memory + header
        let ofFirst = max(0, first.count - taken)
        if ofFirst > 0 { memcpy(bytes, first.baseAddress! + taken, ofFirst) }
        let skipped = max(0, taken - first.count)
        if second.count > skipped {
            memcpy(bytes + ofFirst, second.baseAddress! + skipped, second.count - skipped)
        }
        var buffer = uv_buf_t(base: bytes.assumingMemoryBound(to: CChar.self), len: size)
        let status = uv_write(request, stream, &buffer, 1) { request, status in
            let socket = TCPSocket.of(request!.pointee.handle)
            UnsafeMutableRawPointer(request!).deallocate()
            socket.wrote(status)
        }
        if status < 0 { memory.deallocate() }
        return status
    }

    private func wrote(_ status: Int32) {
        guard !isClosed else { return }
        if status < 0 { owner?.socketFailed(status) } else { owner?.socketWrote() }
    }

    private static func buffer(_ bytes: UnsafeBufferPointer<UInt8>) -> uv_buf_t {
        // libuv only reads what is written, but its type says otherwise.
        uv_buf_t(
            base: UnsafeMutableRawPointer(mutating: bytes.baseAddress)?
                .assumingMemoryBound(to: CChar.self),
            len: bytes.count
        )
    }

    // MARK: Closing

    /// Tells the peer, after what is queued, that no more will come.
    package func shutdown() {
        guard !isClosed else { return }
        let request = UnsafeMutablePointer<uv_shutdown_t>.allocate(capacity: 1)
        let status = uv_shutdown(request, stream) { request, _ in request!.deallocate() }
        if status < 0 { request.deallocate() }
    }

    /// Closes at once, dropping what is queued.
    package func close() {
        guard !isClosed else { return }
        isClosed = true
        isReading = false
        uv_close(UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self)) {
            handle in
            let socket = Unmanaged<TCPSocket>.fromOpaque(handle!.pointee.data).takeRetainedValue()
            let owner = socket.owner.take()
            owner?.socketClosed()
        }
    }

    private var stream: UnsafeMutablePointer<uv_stream_t> {
        UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_stream_t.self)
    }

    private static func of<Handle>(_ handle: UnsafeMutablePointer<Handle>?) -> TCPSocket {
        // Every kind of handle begins with the user's pointer.
        let base = UnsafeMutableRawPointer(handle!).assumingMemoryBound(to: uv_handle_t.self)
        return Unmanaged<TCPSocket>.fromOpaque(base.pointee.data).takeUnretainedValue()
    }
}

extension TCPSocket {
    /// libuv's words for one of its errors.
    package static func describe(_ code: Int32) -> String { String(cString: uv_strerror(code)) }
}
