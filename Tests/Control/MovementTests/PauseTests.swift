import Administration
import Coordination
import Movement
import Sharding
import TestSupport
import Testing

@Suite(.serialized)
struct PauseTests {
    private static let epochs = [Epoch.first, .first]

    private func attempt(_ world: MoveWorld, _ number: Int = 1) -> FenceAttempt {
        FenceAttempt(move: world.spec.id, number: number)
    }

    private func failure(_ body: () async throws -> MoveFact) async -> String {
        do {
            return "\(try await body())"
        } catch {
            return "\(error)"
        }
    }

    @Test func `who sleeps in a fenced transaction loses it, and its write`() async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        let driver = world.driver()
        let sleeper = try world.session(world.source)
        try sleeper.run(
            "BEGIN; SELECT control.fence('{3}', '{1}'); INSERT INTO feed.entry VALUES (3, 1, 1, 1)"
        )

        _ = try await driver.perform(.fence(attempt(world), Self.epochs), of: world.spec)

        #expect(throws: AdminError.self) { try sleeper.run("COMMIT") }
        #expect(try await world.owners(world.source) == "3 fenced 1, 700 fenced 1")
        #expect(try await world.content(world.source, 3).hasPrefix("0"))
    }

    @Test func `writers of other buckets are left alone`() async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        let driver = world.driver()
        let other = try world.session(world.source)
        try other.run(
            "BEGIN; SELECT control.fence('{5}', '{1}'); INSERT INTO feed.entry VALUES (5, 1, 1, 1)"
        )

        _ = try await driver.perform(.fence(attempt(world), Self.epochs), of: world.spec)
        try other.run("COMMIT")

        #expect(try await world.content(world.source, 5).hasPrefix("1"))
    }

    @Test func `giving up and releasing exclude each other`() async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        let driver = world.driver()
        let spec = world.spec

        _ = try await driver.perform(.fence(attempt(world), Self.epochs), of: spec)
        let gaveUp = try await driver.perform(.giveUp(attempt(world), Self.epochs), of: spec)
        let late = await failure { try await driver.perform(.release(attempt(world)), of: spec) }

        let third = Epoch(rawValue: 3)
        #expect(gaveUp == .gaveUp([third, third]))
        #expect(late.hasPrefix("refused: "), "\(late)")
        #expect(try await world.owners(world.source) == "3 own 3, 700 own 3")

        _ = try await driver.perform(.fence(attempt(world, 2), [third, third]), of: spec)
        _ = try await driver.perform(.release(attempt(world, 2)), of: spec)
        let tooLate = try await driver.perform(
            .giveUp(attempt(world, 2), [third, third]),
            of: spec
        )

        #expect(tooLate == .released)
        #expect(try await world.owners(world.source) == "3 released 3, 700 released 3")
    }

    @Test func `a fence that was given up before it came finds nothing`() async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        let driver = world.driver()

        _ = try await driver.perform(.giveUp(attempt(world), Self.epochs), of: world.spec)
        let late = await failure {
            try await driver.perform(.fence(attempt(world), Self.epochs), of: world.spec)
        }

        #expect(late.hasPrefix("refused: "), "\(late)")
        #expect(try await world.owners(world.source) == "3 own 3, 700 own 3")
    }

    @Test func `nobody activates before the last writes are there`() async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        let driver = world.driver()

        _ = try await driver.perform(.prepareTarget, of: world.spec)
        _ = try await driver.perform(.fence(attempt(world), Self.epochs), of: world.spec)
        _ = try await driver.perform(.release(attempt(world)), of: world.spec)
        let early = await failure {
            try await driver.perform(.activate(attempt(world), Self.epochs), of: world.spec)
        }

        #expect(early.hasPrefix("transient: "), "\(early)")
        #expect(try await world.owners(world.target) == "3 incoming 2, 700 incoming 2")
    }

    @Test func `ids go on above the source's clock`() async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        let ahead = try await world.source.psql(
            """
            SELECT setval('control.clock', (extract(epoch FROM now()) * 1000)::bigint * 64 + 64000000)
            """
        )
        let runner = MoveRunner(world.spec, world.driver())

        try await runner.run()

        let id = try await world.target.psql("SELECT control.next_id(3::smallint)", user: "app")
        #expect(Int64(id)! >> 16 >= Int64(ahead)! >> 6)
    }

    @Test func `an attempt that is given up is followed by a new copy and another attempt`()
        async throws
    {
        let world = try await MoveWorld.make(modules: ["Feed"])
        try await world.fill(rows: 300)
        let before = try await world.content(world.source, 3)
        let runner = MoveRunner(world.spec, world.driver())
        runner.beforeWork = { [unowned runner] work in
            guard work.name == "awaitMarker" else { return }
            runner.beforeWork = nil
            throw MoveFailure(kind: .lost, message: "the test wants it")
        }

        try await runner.run()

        #expect(runner.move.step == .cleaned, "\(runner.failures)")
        #expect(runner.works.filter { $0 == "copy" }.count == 2)
        #expect(try await world.content(world.target, 3) == before)
        #expect(try await world.owners(world.source) == "3 gone 3, 700 gone 3")
        #expect(try await world.owners(world.target) == "3 own 4, 700 own 4")
        #expect(try await world.leftovers(runner.driver) == [])
    }

    @Test func `a mover that wakes up late finds that its run is over`() async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        try await world.fill(rows: 100)
        let late = world.driver()
        let present = world.driver()
        let spec = world.spec
        _ = try await late.perform(.prepareTarget, of: spec)
        _ = try await late.perform(.openStream(run: 1), of: spec)
        _ = try await present.perform(.openStream(run: 2), of: spec)

        let copied = await failure { try await late.perform(.copy(run: 1), of: spec) }
        let opened = await failure { try await late.perform(.openStream(run: 1), of: spec) }
        let attached = await failure { try await late.perform(.attachStream(run: 1), of: spec) }
        let real = await failure { try await present.perform(.copy(run: 2), of: spec) }
        _ = try await present.perform(.undo, of: spec)

        #expect(!copied.hasPrefix("copied"), "\(copied)")
        #expect(opened.hasPrefix("refused: "), "\(opened)")
        #expect(attached.hasPrefix("refused: "), "\(attached)")
        #expect(real.hasPrefix("copied(rows: 200"), "\(real)")
        #expect(try await world.owners(world.target) == "3 gone 1, 700 gone 1")
        #expect(try await world.leftovers(present) == [])
    }

    @Test func `a worker ends what nobody moves on, with its own role`() async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        let driver = world.driver()
        let spec = world.spec
        let runner = MoveRunner(spec, driver)
        runner.beforeWork = { if $0.name == "activate" { throw MoveRunner.Died() } }
        await #expect(throws: MoveRunner.Died.self) { try await runner.run() }

        let worker = try world.session(world.target, as: "worker")
        try worker.run("SELECT control.activate('\(spec.id).1', '{3,700}')")

        #expect(try await world.owners(world.target) == "3 own 2, 700 own 2")
        let app = try world.session(world.target)
        #expect(throws: AdminError.self) {
            try app.run("SELECT control.activate('\(spec.id).1', '{3,700}')")
        }
        runner.beforeWork = nil
        let successor = try MoveRunner(after: runner, driver)
        try await successor.run()
        #expect(successor.move.step == .cleaned, "\(successor.failures)")
    }

    @Test(arguments: [MoveStep.copying, .catchingUp, .fencing])
    func `doctor finds what a lost move left, and removes it`(step: MoveStep) async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        try await world.fill(rows: 100)
        let before = try await world.content(world.source, 3)
        let driver = world.driver()
        let runner = MoveRunner(world.spec, driver) { $0.keepsReverse = true }
        runner.dieAfter = step
        await #expect(throws: MoveRunner.Died.self) { try await runner.run() }
        let other = world.driver()
        #expect(try await world.leftovers(other).isEmpty == false)
        #expect(
            try await other.leftovers(on: world.spec.target, active: [world.spec])
                == []
        )

        // What an owner row kept alive shows when it is settled.
        for _ in 0..<3 {
            for leftover in try await world.leftovers(other) {
                _ = try await other.repair(leftover)
            }
        }

        #expect(try await world.leftovers(other) == [])
        #expect(try await world.content(world.source, 3) == before)
        #expect(try await world.content(world.target, 3).hasPrefix("0"))
        #expect(try await world.owners(world.target) == "3 gone 1, 700 gone 1")
    }

    @Test func `a copy takes no less time than its rate asks for`() async throws {
        let world = try await MoveWorld.make(modules: ["Feed"])
        try await world.fill(rows: 10_000)
        let rate: Int64 = 1_000_000
        let driver = world.driver { $0.copyBytesPerSecond = rate }
        _ = try await driver.perform(.prepareTarget, of: world.spec)
        _ = try await driver.perform(.openStream(run: 1), of: world.spec)

        let start = ContinuousClock.now
        let fact = try await driver.perform(.copy(run: 1), of: world.spec)
        let taken = start.duration(to: .now)
        _ = try await driver.perform(.undo, of: world.spec)

        guard case .copied(20_000, let bytes) = fact else {
            Issue.record("\(fact)")
            return
        }
        let wanted = Duration.seconds(Double(bytes) / Double(rate))
        #expect(taken / wanted > 0.9, "\(taken) for \(bytes) bytes")
    }
}
