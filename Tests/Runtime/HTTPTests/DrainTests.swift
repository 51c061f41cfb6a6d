import EventLoops
import HTTP
import Testing

@Suite(.serialized)
struct DrainTests {
    private let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    /// The clients of these tests stay when they have been told to go.
    private var limits: HTTPLimits {
        var limits = HTTPLimits()
        limits.lingerTimeout = .milliseconds(100)
        return limits
    }

    @Test func `a drain loses no request of busy clients`() async throws {
        let running = try await RunningServer(limits: limits) { request in
            try await request.loop.sleep(for: .milliseconds(1))
            return .text("hello")
        }
        let outcomes = Left((answered: 0, lost: 0, told: 0))
        let get = get

        await withTaskGroup { group in
            for _ in 0..<8 {
                let client = RawClient(port: running.port)
                client.send(get)
                group.addTask {
                    while true {
                        guard let answer = client.answer() else {
                            return outcomes.change { $0.lost += 1 }
                        }
                        outcomes.change { $0.answered += 1 }
                        if answer.header("Connection") == "close" {
                            return outcomes.change { $0.told += 1 }
                        }
                        client.send(get)
                        await Task.yield()
                    }
                }
            }
            group.addTask {
                _ = await eventually { outcomes.now.answered > 200 }
                // Stopping the loop is all that can fail here, and the counts would show it.
                try? await running.stop(deadline: .seconds(5))
            }
        }

        #expect(outcomes.now.lost == 0)
        #expect(outcomes.now.told == 8)
    }

    @Test func `a drain waits for slow handlers and answers with Connection: close`() async throws {
        let started = Left(0)
        let isDraining = Left(false)
        let running = try await RunningServer(limits: limits) { request in
            started.change { $0 += 1 }
            while !isDraining.now { try await request.loop.sleep(for: .milliseconds(5)) }
            try await request.loop.sleep(for: .milliseconds(100))
            return .text("done")
        }

        let clients = (0..<20).map { _ in RawClient(port: running.port) }
        for client in clients { client.send(get) }
        _ = await eventually { started.now == 20 }
        let stopping = Task.detached { try await running.stop(deadline: .seconds(5)) }
        _ = try await eventually { try await running.loop.run { running.server.isDraining } }
        isDraining.change { $0 = true }
        let answers = clients.map { $0.answer() }
        try await stopping.value

        #expect(answers.allSatisfy { $0?.body == "done" && $0?.header("Connection") == "close" })
    }

    @Test func `an idle connection may bring one more request, then it is closed`() async throws {
        let running = try await RunningServer(limits: limits) { _ in .text("hello") }
        let late = RawClient(port: running.port)
        let idle = RawClient(port: running.port)
        for client in [late, idle] { client.send(get) }
        let first = [late, idle].map { $0.answer()?.status }

        let stopping = Task.detached { try await running.stop(deadline: .seconds(5)) }
        _ = try await eventually { try await running.loop.run { running.server.isDraining } }
        late.send(get)
        let answer = late.answer()

        #expect(first == [200, 200])
        #expect(answer?.header("Connection") == "close")
        #expect(idle.isClosedByPeer())
        try await stopping.value
    }

    @Test func `what is not done by the deadline is cut`() async throws {
        let started = Left(false)
        let running = try await RunningServer(limits: limits) { request in
            started.change { $0 = true }
            // Ends early when the deadline cancels it, which is what the test waits for.
            try? await request.loop.sleep(for: .seconds(60))
            return .text("too late")
        }
        let client = RawClient(port: running.port)
        client.send(get)
        _ = await eventually { started.now }
        let start = ContinuousClock.now

        try await running.stop(deadline: .milliseconds(200))

        #expect(ContinuousClock.now - start < .seconds(5))
        #expect(client.isClosedByPeer())
    }

    @Test func `connections that wait in the backlog are served`() async throws {
        let running = try await RunningServer(limits: limits) { _ in .text("hello") }
        let isBlocked = Left(false)
        let release = Left(false)
        running.loop.execute {
            isBlocked.change { $0 = true }
            while !release.now {}
        }
        _ = await eventually { isBlocked.now }

        let waiting = (0..<20).map { _ in RawClient(port: running.port) }
        for client in waiting { client.send(get) }
        let stopping = Task.detached { try await running.stop(deadline: .seconds(5)) }
        try await Task.sleep(for: .milliseconds(50))
        release.change { $0 = true }
        let answers = waiting.map { $0.answer()?.status }

        #expect(answers.allSatisfy { $0 == 200 })
        try await stopping.value
    }
}
