import EventLoops
import Memcache
import Synchronization
import TestSupport
import Testing

/// What every cache client must do, whatever its protocol.
///
/// `makeClient` is called on each of two loops; both clients talk to the same nodes.
struct CacheContract {
    let makeClient: @Sendable (EventLoop) -> any CacheClient

    /// Runs `body` on a loop of its own with a client of its own.
    func withClient<T: Sendable>(
        _ body: @escaping @Sendable (any CacheClient, EventLoop) async throws -> T
    ) async throws -> T {
        try await withLoop { loop in try await body(makeClient(loop), loop) }
    }

    func valuesOfAllKindsComeBack() async throws {
        let values: [[UInt8]] = [
            [], [0], Array("END\r\nVALUE x 0 1\r\n".utf8), Array(repeating: 255, count: 4096),
            (0..<900_000).map { UInt8(truncatingIfNeeded: $0) },
        ]

        let read = try await withClient { client, _ in
            var read: [[UInt8]?] = []
            for (index, value) in values.enumerated() {
                await client.set(CacheKey(.object, "kind-\(index)"), value, ttl: .seconds(60))
                read.append(await client.get(CacheKey(.object, "kind-\(index)")))
            }
            return read
        }

        #expect(read == values)
    }

    func manyKeysComeBackAtOnce() async throws {
        let keys = (0..<1000).map { CacheKey(.feed, "many-\($0)") }

        let found = try await withClient { client, _ in
            for (index, key) in keys.enumerated() where index % 3 != 0 {
                await client.set(key, Array(key.name.utf8), ttl: .seconds(60))
            }
            return await client.get(keys + keys.prefix(10))
        }

        #expect(found.count == keys.indices.count { $0 % 3 != 0 })
        #expect(found.allSatisfy { $0.value == Array($0.key.name.utf8) })
    }

    func strangeNamesAreKeys() async throws {
        let names = [
            "with space", "line\r\nset evil 0 0 1\r\nx", "", String(repeating: "long", count: 500),
            "ünïcödé", "\u{0}", "tab\t", String(repeating: "long", count: 500) + "er",
        ]

        let read = try await withClient { client, _ in
            for (index, name) in names.enumerated() {
                await client.set(CacheKey(.session, name), [UInt8(index)], ttl: .seconds(60))
            }
            var read: [[UInt8]?] = []
            for name in names { read.append(await client.get(CacheKey(.session, name))) }
            return read
        }

        #expect(read == names.indices.map { [UInt8($0)] })
    }

    func addAndDelete() async throws {
        let key = CacheKey(.object, "add")

        try await withClient { client, _ in
            #expect(await client.add(key, [1], ttl: .seconds(60)))
            #expect(await !client.add(key, [2], ttl: .seconds(60)))
            #expect(await client.get(key) == [1])
            #expect(await client.delete([key]))
            #expect(await client.get(key) == nil)
            #expect(await client.delete([key]), "what is not there is gone")
        }
    }

    func aTooLargeValueTakesTheOldOneAway() async throws {
        let key = CacheKey(.object, "large")

        try await withClient { client, _ in
            await client.set(key, [1], ttl: .seconds(60))
            let large = [UInt8](repeating: 1, count: CacheLimits.valueBytes + 1)
            await client.set(key, large, ttl: .seconds(60))
            #expect(await client.get(key) == nil)
        }
    }

    func aFillLoadsOnce() async throws {
        let key = CacheKey(.object, "fill")

        try await withClient { client, _ in
            let first = try await client.fill(key, ttl: .seconds(60)) { [1] }
            let second = try await client.fill(key, ttl: .seconds(60)) { [2] }
            #expect(first == [1])
            #expect(second == [1])
        }
    }

    func anAbsentOrFailedLoadLeavesNothingBehind() async throws {
        struct Broken: Error {}
        let key = CacheKey(.object, "absent")

        try await withClient { client, _ in
            let absent = try await client.fill(key, ttl: .seconds(60)) { nil }
            #expect(absent == nil)
            await #expect(throws: Broken.self) {
                try await client.fill(key, ttl: .seconds(60)) { throw Broken() }
            }
            #expect(await client.add(key, [1], ttl: .seconds(60)), "no marker is left")
        }
    }

    func aDeleteBetweenLoadAndStoreWins() async throws {
        let key = CacheKey(.object, "resurrect")

        try await withClient { client, _ in
            let answered = try await client.fill(key, ttl: .seconds(60)) {
                let old: [UInt8] = [1]
                #expect(await client.delete([key]))
                return old
            }
            #expect(answered == [1])
            #expect(await client.get(key) == nil)
        }
    }

    func aDeleteAndASecondFillBetweenLoadAndStoreWin() async throws {
        let key = CacheKey(.object, "overtaken")

        try await withClient { client, _ in
            let old = try await client.fill(key, ttl: .seconds(60)) {
                let old: [UInt8] = [1]
                #expect(await client.delete([key]))
                let new = try await client.fill(key, ttl: .seconds(60)) { [2] }
                #expect(new == [2])
                return old
            }
            #expect(old == [1])
            #expect(await client.get(key) == [2])
        }
    }

    func aMarkerIsNoValue() async throws {
        let key = CacheKey(.object, "marker")

        try await withClient { client, _ in
            guard case .owned(let token) = await client.reserve(key) else {
                Issue.record("the key was free")
                return
            }
            #expect(await client.get(key) == nil)
            #expect(await client.get([key]).isEmpty)
            #expect(await client.reserve(key) == .taken)
            #expect(await client.store(key, [7], ttl: .seconds(60), token: token))
            #expect(await client.reserve(key) == .filled([7]))
            #expect(await !client.store(key, [8], ttl: .seconds(60), token: token), "used once")
        }
    }

    // MARK: Many at once

    /// `patience` of the clients must be longer than anything here can take.
    func aCrowdOnAColdKeyLoadsOnce() async throws {
        let key = CacheKey(.object, "crowd")
        let loads = Shared(0)
        try await crowd(of: 500) { client, loop in
            try await client.fill(key, ttl: .seconds(60)) {
                loads.withLock { $0 += 1 }
                try await loop.sleep(for: .milliseconds(20))
                return [7]
            }
        }
        #expect(loads.withLock { $0 } == 1)
    }

    func aCrowdOnManyColdKeysLoadsEachOnce() async throws {
        let keys = (0..<40).map { CacheKey(.object, "crowds-\($0)") }
        let loads = Shared<[CacheKey: Int]>([:])
        try await crowd(of: 100) { client, loop in
            let some = keys.shuffled().prefix(20)
            let found = try await client.fill(Array(some), ttl: .seconds(60)) { missing in
                loads.withLock { loads in
                    for key in missing { loads[key, default: 0] += 1 }
                }
                try await loop.sleep(for: .milliseconds(5))
                return Dictionary(uniqueKeysWithValues: missing.map { ($0, Array($0.name.utf8)) })
            }
            #expect(found.count == 20)
            #expect(found.allSatisfy { $0.value == Array($0.key.name.utf8) })
            return [7]
        }
        #expect(loads.withLock { $0.values.allSatisfy { $0 == 1 } })
    }

    /// Half of them on each of two loops; each answers 7.
    private func crowd(
        of count: Int,
        _ ask: @escaping @Sendable (any CacheClient, EventLoop) async throws -> [UInt8]?
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { sides in
            for _ in 0..<2 {
                sides.addTask {
                    try await withClient { client, loop in
                        try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
                            for _ in 0..<(count / 2) {
                                group.addTask { try await ask(client, loop) }
                            }
                            for try await value in group { #expect(value == [7]) }
                        }
                    }
                }
            }
            try await sides.waitForAll()
        }
    }

    /// `patience` of the clients should be short.
    func aFillThatNobodyEndsIsLoadedByFew() async throws {
        let key = CacheKey(.object, "abandoned")
        let loads = Shared(0)
        try await withClient { client, loop in
            guard case .owned = await client.reserve(key) else {
                Issue.record("the key was free")
                return
            }
            try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
                for _ in 0..<100 {
                    group.addTask {
                        try await client.fill(key, ttl: .seconds(60)) {
                            loads.withLock { $0 += 1 }
                            try await loop.sleep(for: .milliseconds(50))
                            return [7]
                        }
                    }
                }
                for try await value in group { #expect(value == [7]) }
            }
        }
        let count = loads.withLock { $0 }
        #expect(count >= 1 && count <= 10, "\(count) loads")
    }

    /// One of twenty fails; the others load anew.
    func aFailedLoadFailsOneReader() async throws {
        let key = CacheKey(.object, "failing")
        let loads = Shared(0)
        try await withClient { client, _ in
            let good = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<20 {
                    group.addTask { await fills(key, client, failing: loads) }
                }
                var good = 0
                for await isGood in group where isGood { good += 1 }
                return good
            }
            #expect(good == 19)
            #expect(await client.get(key) == [7])
        }
    }

    private func fills(
        _ key: CacheKey,
        _ client: any CacheClient,
        failing loads: Shared<Int>
    ) async -> Bool {
        do {
            let value = try await client.fill(key, ttl: .seconds(60)) {
                let number = loads.withLock { count in
                    count += 1
                    return count
                }
                if number == 1 { throw BrokenLoad() }
                return [7]
            }
            return value == [7]
        } catch {
            return false
        }
    }

    // MARK: Expiring

    func whatIsExpiredIsReadByWhoAllowsIt(keepsStale: Bool) async throws {
        let key = CacheKey(.object, "expired")
        try await withClient { client, _ in
            await client.set(key, [1], ttl: .seconds(60))
            #expect(await client.expire([key]))
            #expect(await client.get(key) == nil, "not by a plain reader")

            let loaded = try await client.fill(key, ttl: .seconds(60), stale: .allowed) {
                let other = try await client.fill(key, ttl: .seconds(60), stale: .allowed) { [3] }
                #expect(other == (keepsStale ? [1] : [3]))
                return [2]
            }
            #expect(loaded == [2])
            #expect(await client.get(key) == [2])

            #expect(await client.expire([key]))
            #expect(await client.delete([key]))
            let again = try await client.fill(key, ttl: .seconds(60), stale: .allowed) { [4] }
            #expect(again == [4])
        }
    }

    func anExpiryBetweenLoadAndStoreWins() async throws {
        let key = CacheKey(.object, "expired-between")
        try await withClient { client, _ in
            let answered = try await client.fill(key, ttl: .seconds(60)) {
                #expect(await client.expire([key]))
                return [1]
            }
            #expect(answered == [1])
            let next = try await client.fill(key, ttl: .seconds(60)) { [2] }
            #expect(next == [2])
        }
    }

    // MARK: Races

    /// Writers raise a version in the truth and then delete; readers fill. Whoever begins to read after a delete
    /// was answered sees that version or a later one, on either client.
    func noReaderGoesBack(seed: UInt64, writes: Int) async throws {
        let worst = try await farthestBack(seed: seed, writes: writes)

        #expect(worst == 0, "seed \(seed)")
    }

    /// By how many versions a reader of ``noReaderGoesBack(seed:writes:)`` went back; zero or below.
    func farthestBack(seed: UInt64, writes: Int) async throws -> Int {
        let race = CacheRace(seed: seed)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for side in 0..<2 {
                group.addTask {
                    try await withClient { client, loop in
                        var random = SeededGenerator(seed: seed &+ UInt64(side))
                        for _ in 0..<writes {
                            try await race.turn(client, loop, &random, side: side)
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(race.unsure == 0)
        return race.worst
    }
}

private struct BrokenLoad: Error {}

/// A value that tasks share.
final class Shared<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    func withLock<T: Sendable>(_ body: (inout Value) -> T) -> T {
        value.withLock { value in
            var copy = value
            let result = body(&copy)
            value = copy
            return result
        }
    }
}

/// Items whose truth changes while two clients read them through their caches.
final class CacheRace: Sendable {
    private let items: Int
    private let name: String
    private let state: Mutex<State>

    private struct State {
        /// The version in the truth.
        var truth: [Int]
        /// The version whose delete was answered.
        var settled: [Int]
        /// What each side has written itself, answered or not: it reads nothing older.
        var own: [[Int]]
        var worst = 0
        var unsure = 0
    }

    init(seed: UInt64, items: Int = 4) {
        self.items = items
        name = "race-\(seed)"
        let zeros = Array(repeating: 0, count: items)
        state = Mutex(State(truth: zeros, settled: zeros, own: [zeros, zeros]))
    }

    /// How far a reader saw less than what was settled before it began; zero or below.
    var worst: Int { state.withLock { $0.worst } }

    /// How many deletes were not surely carried out.
    var unsure: Int { state.withLock { $0.unsure } }

    func turn(
        _ client: any CacheClient,
        _ loop: EventLoop,
        _ random: inout SeededGenerator,
        side: Int
    ) async throws {
        let item = Int.random(in: 0..<items, using: &random)
        let slow = Int.random(in: 0..<4, using: &random) == 0
        try await read(client, loop, item, slow: slow, side: side)
        // Not always what was just read: another's load may be under way.
        let other = Int.random(in: 0..<items, using: &random)
        if Int.random(in: 0..<3, using: &random) == 0 { await write(client, other, side: side) }
    }

    private func key(_ item: Int) -> CacheKey { CacheKey(.feed, "\(name)-\(item)") }

    private func read(
        _ client: any CacheClient,
        _ loop: EventLoop,
        _ item: Int,
        slow: Bool,
        side: Int
    ) async throws {
        let floor = state.withLock { max($0.settled[item], $0.own[side][item]) }
        let value = try await client.fill(key(item), ttl: .seconds(60)) {
            let version = state.withLock { $0.truth[item] }
            if slow { try await loop.sleep(for: .milliseconds(1)) }
            return Array("\(version)".utf8)
        }
        let seen = Int(String(decoding: value ?? [], as: UTF8.self)) ?? -1
        state.withLock { $0.worst = min($0.worst, seen - floor) }
    }

    private func write(_ client: any CacheClient, _ item: Int, side: Int) async {
        let version = state.withLock { state in
            state.truth[item] += 1
            return state.truth[item]
        }
        let isGone = await client.delete([key(item)])
        state.withLock { state in
            state.own[side][item] = version
            if isGone {
                state.settled[item] = max(state.settled[item], version)
            } else {
                state.unsure += 1
            }
        }
    }
}

/// splitmix64: the same seed draws the same numbers for ever.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
