import EventLoops

/// Runs `body` on an event loop of its own and ends the loop afterwards.
///
/// Everything bound to the loop must be made and closed inside `body`.
package func withLoop<T: Sendable>(
    _ body: @escaping @Sendable (EventLoop) async throws -> T
) async throws -> T {
    let group = LoopGroup(count: 1, name: "test")
    let loop = group.loops[0]
    let result: Result<T, any Error> = await withCheckedContinuation { done in
        loop.spawn {
            do {
                let value = try await body(loop)
                done.resume(returning: .success(value))
            } catch {
                done.resume(returning: .failure(error))
            }
        }
    }
    await blocking { group.stopAndJoin() }
    return try result.get()
}
