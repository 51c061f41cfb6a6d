internal import CLibuv
import CRuntime
import Glibc

/// Why a socket could not be listened on, such as an address in use.
package struct ListenError: Error, Sendable, CustomStringConvertible {
    package let description: String

    init(_ call: String, _ code: Int32) {
        description = "\(call): \(String(cString: uv_strerror(code)))"
    }
}

/// A listening socket on one loop.
package final class TCPListener: @unchecked Sendable {
    // @unchecked: touched on `loop` only.

    /// Connections that the kernel keeps until they are accepted (bounded by `net.core.somaxconn`).
    package static let backlog: Int32 = 4_096

    package let loop: EventLoop
    /// The port that is listened on; useful after listening on port 0.
    package private(set) var port = 0
    private let handle = UnsafeMutablePointer<uv_tcp_t>.allocate(capacity: 1)
    private let descriptor: Int32
    /// Kept for the moment in which the process has no other descriptor left.
    private var spare = tessera_eventfd()
    private var accept: ((TCPListener) -> Void)?
    private var onError: ((Int32) -> Void)?

    /// Opens a listening socket whose port other loops may listen on too.
    package static func open(address: String, port: Int) throws(ListenError) -> Int32 {
        guard let port = UInt16(exactly: port) else {
            throw ListenError("port", Int32(UV_EINVAL.rawValue))
        }
        // A port that the kernel chooses must not be one that is already shared by others.
        let descriptor = tessera_listen_tcp(address, port, port == 0 ? 0 : 1, backlog)
        guard descriptor >= 0 else { throw ListenError("listen on \(address):\(port)", descriptor) }
        return descriptor
    }

    /// Accepts connections of a listening descriptor, which the listener then owns.
    ///
    /// `accept` is called once for each; it takes the connection with ``take(_:)``.
    package init(
        loop: EventLoop,
        descriptor: Int32,
        accept: @escaping (TCPListener) -> Void,
        onError: @escaping (Int32) -> Void
    ) throws(ListenError) {
        loop.assertOnLoop()
        self.loop = loop
        self.descriptor = descriptor
        self.accept = accept
        self.onError = onError
        precondition(uv_tcp_init(loop.uv, handle) == 0)
        // Balanced in the close callback.
        handle.pointee.data = Unmanaged.passRetained(self).toOpaque()
        let opened = uv_tcp_open(handle, descriptor)
        let status =
            opened < 0
            ? opened
            : uv_listen(stream, TCPListener.backlog) { server, status in
                Unmanaged<TCPListener>.fromOpaque(server!.pointee.data).takeUnretainedValue()
                    .arrived(status)
            }
        guard status == 0 else {
            close()
            throw ListenError("uv_listen", status)
        }
        port = Int(tessera_local_port(descriptor))
    }

    deinit {
        if spare >= 0 { Glibc.close(spare) }
        handle.deallocate()
    }

    private func arrived(_ status: Int32) {
        if status == 0 { accept?(self) } else { failed(status) }
    }

    /// Without free descriptors libuv calls this again and again until the backlog is empty, unless its own
    /// spare descriptor helps. Ours turns one waiting client away, so that each call comes to an end.
    private func failed(_ status: Int32) {
        onError?(status)
        guard status == UV_EMFILE.rawValue || status == UV_ENFILE.rawValue else { return }
        if spare >= 0 { Glibc.close(spare) }
        let waiting = tessera_accept(descriptor)
        if waiting >= 0 { Glibc.close(waiting) }
        spare = tessera_eventfd()
        // Other threads took the descriptor that was just freed: leave them a moment to give some back.
        if waiting < 0 { usleep(1_000) }
    }

    /// Gives the waiting connection to `socket`; returns libuv's error, or zero.
    package func take(_ socket: TCPSocket) -> Int32 { socket.accept(from: stream) }

    /// Stops listening, after `adopt` got the descriptors of all connections that were already made.
    ///
    /// The kernel resets what waits in the backlog of a closing socket; those clients did nothing wrong.
    package func close(adopt: (Int32) -> Void = { _ = Glibc.close($0) }) {
        guard accept != nil else { return }
        accept = nil
        onError = nil
        while true {
            let waiting = tessera_accept(descriptor)
            if waiting >= 0 {
                adopt(waiting)
            } else if waiting != -EINTR && waiting != -ECONNABORTED {
                break
            }
        }
        uv_close(UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self)) {
            handle in
            Unmanaged<TCPListener>.fromOpaque(handle!.pointee.data).release()
        }
    }

    private var stream: UnsafeMutablePointer<uv_stream_t> {
        UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_stream_t.self)
    }
}
