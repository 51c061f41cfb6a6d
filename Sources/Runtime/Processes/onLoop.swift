package import EventLoops

/// Runs `body` on a loop and waits for it from elsewhere.
package func onLoop<T: Sendable>(
    _ loop: EventLoop,
    _ body: @escaping @Sendable () async throws -> T
) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        loop.spawn {
            do {
                continuation.resume(returning: try await body())
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }
}
