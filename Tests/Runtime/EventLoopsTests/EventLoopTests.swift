import EventLoops
import Testing

struct EventLoopTests {
    @Test func `a task stays on its loop across a sleep and a hop to another loop`() async {
        let group = LoopGroup(count: 2)
        let loops = group.loops

        let stayed = await withCheckedContinuation { done in
            loops[0].spawn {
                let before = loops[0].isOnLoop
                try? await loops[0].sleep(for: .milliseconds(5))
                let slept = loops[0].isOnLoop
                await withCheckedContinuation { hop in loops[1].execute { hop.resume() } }
                done.resume(returning: before && slept && loops[0].isOnLoop)
            }
        }

        #expect(stayed)
        group.stopAndJoin()
    }

    @Test func `timers fire in the order of their deadlines, and cancelled ones do not`() async {
        let group = LoopGroup(count: 1)
        let loop = group.loops[0]

        let fired: [Int] = await withCheckedContinuation { done in
            loop.execute {
                var fired: [Int] = []
                loop.after(.milliseconds(12)) { fired.append(3) }
                loop.after(.milliseconds(4)) { fired.append(1) }
                loop.after(.milliseconds(6)) { fired.append(2) }.cancel()
                loop.after(.milliseconds(20)) { done.resume(returning: fired) }
            }
        }

        #expect(fired == [1, 3])
        group.stopAndJoin()
    }

    @Test func `what is ready may run at once, and what waits for the turn's end still waits`()
        async
    {
        let group = LoopGroup(count: 1)
        let loop = group.loops[0]

        let seen: [String] = await withCheckedContinuation { done in
            loop.execute {
                let log = Log()
                loop.spawn {
                    await withUnsafeContinuation { log.waiter = $0 }
                    log.lines.append("task")
                }
                loop.atEndOfTurn {
                    log.lines.append("end of turn")
                    done.resume(returning: log.lines)
                }
                log.waiter?.resume()
                log.lines.append("resumed")
                loop.runReady()
                log.lines.append("back")
            }
        }

        #expect(seen == ["resumed", "task", "back", "end of turn"])
        group.stopAndJoin()
    }

    private final class Log: @unchecked Sendable {
        // @unchecked: touched on the test's loop only.
        var lines: [String] = []
        var waiter: UnsafeContinuation<Void, Never>?
    }
}
