import Glibc
import Testing

/// Who may see what, on every path: random societies compared with a plain reference.
///
/// `VISIBILITY_CASES` says how many cases to draw, and `VISIBILITY_SEED` the first seed; `cluster/visibility` sets both.
@Suite(.serialized) struct VisibilityTests {
    private static let people = 6
    private static let steps = 90
    private static let cases = number("VISIBILITY_CASES") ?? 4_000
    private static let seed = UInt64(number("VISIBILITY_SEED") ?? 1)

    private static func number(_ name: String) -> Int? {
        getenv(name).flatMap { Int(String(cString: $0)) }
    }

    @Test func `no path shows or hides what the reference does not`() async throws {
        var seed = Self.seed
        var drawn = 0
        while drawn < Self.cases {
            let comparison = try await Self.compare(seed: seed)
            #expect(
                comparison.wrong.isEmpty,
                "VISIBILITY_SEED=\(seed): \(comparison.wrong.prefix(5).joined(separator: "\n"))"
            )
            drawn += comparison.cases
            seed += 1
        }
        print("visibility: \(drawn) cases, seeds \(Self.seed)...\(seed - 1)")
    }

    private static func compare(seed: UInt64) async throws -> Comparison {
        let result = Outcome()
        try await VisibilityWorld.run(people: people) { world in
            var history = History(world, seed: seed)
            do {
                try await history.run(steps: steps)
            } catch let disagreement as Disagreement {
                Issue.record("VISIBILITY_SEED=\(seed): \(disagreement)")
            }
            var comparison = Comparison(world, history.society)
            try await comparison.run()
            result.comparison = comparison
        }
        return try #require(result.comparison)
    }

    @Test func `a leak in any one path is caught`() async throws {
        let unnoticed = Unnoticed()
        // A society may have nothing that one of the paths could give away; not all of these have.
        for seed in UInt64(7)..<13 where !unnoticed.paths.isEmpty {
            try await VisibilityWorld.run(people: Self.people) { world in
                var history = History(world, seed: seed)
                try await history.run(steps: 2 * Self.steps)
                for path in unnoticed.paths {
                    var sound = Comparison(world, history.society, only: path)
                    try await sound.run()
                    world.leak.isOpen = true
                    var leaky = Comparison(world, history.society, only: path)
                    try await leaky.run()
                    world.leak.isOpen = false

                    #expect(sound.wrong.isEmpty, "\(path)")
                    if !leaky.wrong.isEmpty { unnoticed.paths.removeAll { $0 == path } }
                }
            }
        }

        #expect(unnoticed.paths.isEmpty)
    }
}

/// The paths whose leak nothing has shown yet.
private final class Unnoticed: @unchecked Sendable {
    // @unchecked: one world after the other has it.
    var paths = Path.allCases
}

/// Carries a result out of a world's loop.
private final class Outcome: @unchecked Sendable {
    // @unchecked: written before the loop ends, read after it.
    var comparison: Comparison?
}
