internal import CLibuv
import Glibc

/// Finds the addresses of a host name without blocking the loop.
package enum NameLookup {
    /// Whether `host` is already a numeric IPv4 or IPv6 address.
    package static func isNumeric(_ host: String) -> Bool {
        var room = in6_addr()
        return inet_pton(AF_INET, host, &room) == 1 || inet_pton(AF_INET6, host, &room) == 1
    }

    /// Calls `done` on the loop with the numeric addresses of `host`, or with libuv's words for the failure.
    ///
    /// The system's resolver runs on libuv's threads. A lookup cannot be taken back; it ends by the
    /// resolver's own timeout.
    package static func start(
        _ host: String,
        loop: EventLoop,
        done: @escaping (_ addresses: [String], _ failure: String?) -> Void
    ) {
        loop.assertOnLoop()
        if isNumeric(host) { return done([host], nil) }
        let request = UnsafeMutablePointer<uv_getaddrinfo_t>.allocate(capacity: 1)
        request.pointee.data = Unmanaged.passRetained(Pending(done)).toOpaque()
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        let status = uv_getaddrinfo(
            loop.uv,
            request,
            { request, status, list in NameLookup.finish(request!, status, list) },
            host,
            nil,
            &hints
        )
        if status < 0 { finish(request, status, nil) }
    }

    private final class Pending {
        let done: ([String], String?) -> Void
        init(_ done: @escaping ([String], String?) -> Void) { self.done = done }
    }

    private static func finish(
        _ request: UnsafeMutablePointer<uv_getaddrinfo_t>,
        _ status: Int32,
        _ list: UnsafeMutablePointer<addrinfo>?
    ) {
        let pending = Unmanaged<Pending>.fromOpaque(request.pointee.data).takeRetainedValue()
        request.deallocate()
        let addresses = numeric(list)
        uv_freeaddrinfo(list)
        guard status < 0 || addresses.isEmpty else { return pending.done(addresses, nil) }
        let failure = status < 0 ? String(cString: uv_strerror(status)) : "no address"
        pending.done([], failure)
    }

    private static func numeric(_ list: UnsafeMutablePointer<addrinfo>?) -> [String] {
        var addresses: [String] = []
        var next = list
        while let entry = next {
            var text = [CChar](repeating: 0, count: 64)
            if uv_ip_name(entry.pointee.ai_addr, &text, text.count) == 0 {
                addresses.append(text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) })
            }
            next = entry.pointee.ai_next
        }
        return addresses
    }
}
