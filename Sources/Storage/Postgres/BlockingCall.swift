import Glibc
import Synchronization

/// Runs the few calls of libpq and libc that block (cancel requests, name lookups), each on a short thread.
///
/// Nobody waits for these threads: a server that accepts and never answers holds one of them, not the loop.
final class BlockingCalls: Sendable {
    /// Calls that may be under way at a time, of one pool.
    static let limit = 8

    private let running = Atomic<Int>(0)

    /// Starts `body` on a thread of its own; false if too many are under way.
    func start(_ body: @escaping @Sendable () -> Void) -> Bool {
        guard running.add(1, ordering: .relaxed).newValue <= Self.limit else {
            running.subtract(1, ordering: .relaxed)
            return false
        }
        let call = Unmanaged.passRetained(
            Call {
                body()
                self.running.subtract(1, ordering: .relaxed)
            }
        )
        var thread = pthread_t()
        let status = pthread_create(
            &thread,
            nil,
            { argument in
                Unmanaged<Call>.fromOpaque(argument!).takeRetainedValue().body()
                return nil
            },
            call.toOpaque()
        )
        guard status == 0 else {
            call.release()
            running.subtract(1, ordering: .relaxed)
            return false
        }
        pthread_detach(thread)
        return true
    }

    private final class Call {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// The numeric address of a host name; nil if it has none now.
    static func address(of name: String) -> String? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &found) == 0, let first = found else { return nil }
        defer { freeaddrinfo(first) }
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let status = getnameinfo(
            first.pointee.ai_addr,
            first.pointee.ai_addrlen,
            &text,
            socklen_t(text.count),
            nil,
            0,
            NI_NUMERICHOST
        )
        guard status == 0 else { return nil }
        return text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    /// Whether `name` needs no lookup: a numeric address or the folder of a Unix socket.
    static func isNumeric(_ name: String) -> Bool {
        if name.hasPrefix("/") { return true }
        var four = in_addr()
        var six = in6_addr()
        return inet_pton(AF_INET, name, &four) == 1 || inet_pton(AF_INET6, name, &six) == 1
    }
}
