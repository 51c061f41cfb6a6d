import Coordination
import MoveSimulation
import Simulation

let scenario = Scenario.named(CommandLine.arguments[1])!
let seeds = UInt64(CommandLine.arguments[2])!...UInt64(CommandLine.arguments[3])!
var bad = 0
var finished: [MoveStep: Int] = [:]
var crashes: [MoveStep: Int] = [:]
var acked = 0, errors = 0, pause = 0, steps = 0
for seed in seeds {
    let world = MoveWorld(seed: seed, scenario: scenario)
    if CommandLine.arguments.count > 4 { world.narrator = { print($0) } }
    world.run()
    finished.merge(world.finished, uniquingKeysWith: +)
    crashes.merge(world.crashes, uniquingKeysWith: +)
    acked += world.acknowledged
    errors += world.errors
    steps += world.simulator.steps
    pause = max(pause, world.longestPause)
    if !world.wrong.isEmpty {
        bad += 1
        if bad <= 5 { print(seed, world.wrong) }
    }
}
print("bad", bad, "of", seeds.count, finished.map { ($0.key.rawValue, $0.value) }, "crashes", crashes.map { ($0.key.rawValue, $0.value) }, "acked", acked, "errors", errors, "pause", pause, "steps", steps)
