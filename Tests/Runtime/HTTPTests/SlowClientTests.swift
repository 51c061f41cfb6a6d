import EventLoops
import HTTP
import Testing

@Suite(.serialized)
struct SlowClientTests {
    @Test func `a thousand slow connections do not slow a normal client, and are cut`() async throws
    {
        var limits = HTTPLimits()
        limits.headTimeout = .seconds(1)
        limits.rateWindow = .seconds(1)
        let running = try await RunningServer(limits: limits) { request in
            .text("\(try await request.body.collect(upTo: 100_000).count)")
        }
        let heads = [
            "GET / HTTP/1.1\r\nHo", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n",
        ]

        let slow = (0..<1_000).map { index in
            let client = RawClient(port: running.port)
            client.send(heads[index % 2])
            return client
        }
        let dripping = Task.detached {
            for _ in 0..<20 {
                for client in slow { client.send("x") }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        let normal = RawClient(port: running.port)
        var times: [Duration] = []
        for _ in 0..<300 {
            let asked = ContinuousClock.now
            normal.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            let answer = normal.answer()
            times.append(ContinuousClock.now - asked)
            #expect(answer?.status == 200)
        }
        try await dripping.value
        let answers = slow.map { $0.receiveAll() }

        // Far above what it takes even on a crowded machine, far below what the slow ones wait.
        #expect(times.sorted()[times.count / 2] < .milliseconds(250))
        #expect(answers.allSatisfy { $0.isEmpty || $0.hasPrefix("HTTP/1.1 408") })
        #expect(try await running.statistics.timeouts == 1_000)
        try await running.stop()
    }

    @Test func `a connection that sends nothing and one that waits too long are closed`()
        async throws
    {
        var limits = HTTPLimits()
        limits.headTimeout = .milliseconds(100)
        limits.idleTimeout = .milliseconds(200)
        let running = try await RunningServer(limits: limits) { _ in .text("hello") }

        let silent = RawClient(port: running.port)
        let idle = RawClient(port: running.port)
        idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        let answer = idle.answer()

        #expect(answer?.status == 200)
        #expect(silent.isClosedByPeer())
        #expect(idle.isClosedByPeer())
        try await running.stop()
    }

    @Test func `a handler that takes too long is cancelled and answered for`() async throws {
        var limits = HTTPLimits()
        limits.requestTimeout = .milliseconds(100)
        let cancelled = Left(false)
        let running = try await RunningServer(limits: limits) { request in
            do {
                try await request.loop.sleep(for: .seconds(20))
            } catch {
                cancelled.change { $0 = true }
            }
            return .text("late")
        }

        let client = RawClient(port: running.port)
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        let answer = client.answer()

        #expect(answer?.status == 503)
        #expect(answer?.header("Retry-After") == "1")
        #expect(answer?.header("Connection") == "close")
        #expect(client.isClosedByPeer())
        // The answer may be here before the handler has noticed; the loop ends after it.
        try await running.stop()
        #expect(cancelled.now)
    }

    @Test func `a client that does not read its answer is cut`() async throws {
        var limits = HTTPLimits()
        limits.rateWindow = .milliseconds(200)
        let running = try await RunningServer(limits: limits) { _ in
            Response(body: .bytes([UInt8](repeating: 120, count: 32 << 20)))
        }

        let client = RawClient(port: running.port, receiveBuffer: 65_536)
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        let isCut = try await eventually { try await running.statistics.timeouts == 1 }
        let open = try await running.loop.run { running.server.openConnections }

        #expect(isCut)
        #expect(open == 0)
        _ = client
        try await running.stop()
    }

    @Test func `connections beyond the limit are turned away, and room is used again`() async throws
    {
        var limits = HTTPLimits()
        limits.connections = 2
        let running = try await RunningServer(limits: limits) { _ in .text("hello") }
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

        var first: RawClient? = RawClient(port: running.port)
        let second = RawClient(port: running.port)
        first?.send(get)
        second.send(get)
        let firstAnswer = first?.answer()
        let secondAnswer = second.answer()
        let third = RawClient(port: running.port)
        let turnedAway = third.answer()
        first = nil
        _ = try await eventually {
            try await running.loop.run { running.server.openConnections < 2 }
        }
        let fourth = RawClient(port: running.port)
        fourth.send(get)
        let fourthAnswer = fourth.answer()

        #expect(firstAnswer?.status == 200)
        #expect(secondAnswer?.status == 200)
        #expect(turnedAway?.status == 503)
        #expect(fourthAnswer?.status == 200)
        try await running.stop()
    }

    @Test func `pipelined requests beyond the bound wait in the client`() async throws {
        let mayAnswer = Left(false)
        let running = try await RunningServer { request in
            while !mayAnswer.now { try await request.loop.sleep(for: .milliseconds(5)) }
            return .text("x")
        }
        let get = "GET /\(String(repeating: "p", count: 1_000)) HTTP/1.1\r\nHost: a\r\n\r\n"

        let client = RawClient(port: running.port)
        let sending = Task.detached { client.send(String(repeating: get, count: 20_000)) }
        _ = try await eventually { try await running.statistics.bytesIn > 65_536 }
        try await Task.sleep(for: .milliseconds(200))
        let held = try await running.statistics.bytesIn
        mayAnswer.change { $0 = true }
        var answers = 0
        while answers < 20_000, client.answer()?.status == 200 { answers += 1 }

        #expect(held < 262_144)
        #expect(await sending.value)
        #expect(answers == 20_000)
        try await running.stop()
    }
}
