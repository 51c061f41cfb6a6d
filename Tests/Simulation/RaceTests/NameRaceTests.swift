import Accounts
import Contracts
import Sharding
import Simulation
import Testing

/// The races of sign-ups, renames and departures for the same names: after everything is quiet each name belongs to
/// exactly the user who has it, wherever an attempt died.
struct NameRaceTests {
    private static let seeds: Range<UInt64> = 1..<1_501

    private static let usernames = ["ann", "bob", "cid"].map {
        ClaimedName(kind: .username, text: $0)
    }

    private static let addresses = ["ann@x.test", "bob@x.test", "cid@x.test"].map {
        ClaimedName(kind: .email, text: $0)
    }

    private func history(
        seed: UInt64,
        flaw: NameWorld.Flaw? = nil,
        crash: Double = 0.15,
        loss: Double = 0.1,
        grace: Int = 300
    ) -> [String]? {
        let simulator = Simulator(seed: seed)
        let world = NameWorld(simulator, flaw: flaw, crash: crash, loss: loss, grace: grace)
        for _ in 0..<12 {
            simulator.step(within: 0...1_500) {
                let name = Self.usernames.randomElement(using: &simulator.random)!
                let address = Self.addresses.randomElement(using: &simulator.random)!
                let users = world.accounts.keys.sorted()
                if let user = users.randomElement(using: &simulator.random), simulator.chance(0.4) {
                    if simulator.chance(0.4) {
                        world.leave(user)
                    } else {
                        world.rename(user, to: name)
                    }
                } else {
                    world.signUp([name, address])
                }
            }
        }
        guard simulator.run() else { return nil }
        return complaints(world)
    }

    /// What is wrong once nothing more can happen.
    private func complaints(_ world: NameWorld) -> [String] {
        var wrong: [String] = []
        for name in Self.usernames + Self.addresses {
            let owners = world.accounts.filter { $0.value.names.contains(name) }.keys.sorted()
            if owners.count > 1 { wrong.append("\(name.text) has \(owners.count) owners") }
            switch (owners.first, world.claims[name]) {
            case (let owner?, let claim?) where claim.holder.user != owner:
                wrong.append("\(name.text) is held for another than its owner")
            case (_?, let claim?) where !claim.held: wrong.append("\(name.text) stays pending")
            case (_?, nil): wrong.append("\(name.text) is free though it has an owner")
            case (nil, _?): wrong.append("\(name.text) is lost: held for nobody")
            default: break
            }
        }
        for (user, outcome) in world.outcomes where outcome == .committed {
            if world.accounts[user] == nil { wrong.append("a user was promised and is not there") }
        }
        return wrong
    }

    @Test func `every name ends with its one owner, whatever is lost, late or dies`() {
        for seed in Self.seeds {
            #expect(history(seed: seed) == [], "seed \(seed)")
        }
    }

    @Test func `attempts slower than the grace are given up and never half there`() {
        for seed in Self.seeds {
            #expect(history(seed: seed, grace: 20) == [], "seed \(seed)")
        }
    }

    @Test func `without faults somebody gets each name that is asked for`() {
        for seed in Self.seeds.prefix(200) {
            #expect(history(seed: seed, crash: 0, loss: 0) == [], "seed \(seed)")
        }
    }

    @Test(arguments: NameWorld.Flaw.allCases)
    func `a design with a known flaw is caught`(flaw: NameWorld.Flaw) {
        let caught = Self.seeds.contains { seed in
            history(seed: seed, flaw: flaw, loss: 0.25, grace: 40) != []
        }

        #expect(caught)
    }
}
