import EventLoops

/// A cache whose very hot values are held in the process for about a second.
///
/// Reads take what is held; everything else goes to the cache. What the process itself changes is dropped on all of
/// its loops.
struct HotKeys: CacheClient {
    let cache: any CacheClient
    let copies: HotCopies

    var board: FillBoard { cache.board }

    func get(_ keys: [CacheKey]) async -> [CacheKey: [UInt8]] {
        var found: [CacheKey: [UInt8]] = [:]
        var missing: [CacheKey] = []
        for key in keys {
            if let value = copies.value(of: key) { found[key] = value } else { missing.append(key) }
        }
        guard !missing.isEmpty else { return found }
        let looks = missing.map { copies.look(at: $0) }
        for (key, value) in await cache.get(missing) { found[key] = value }
        for (key, look) in zip(missing, looks) { copies.offer(key, found[key], look) }
        return found
    }

    func get(_ key: CacheKey) async -> [UInt8]? {
        if let value = copies.value(of: key) { return value }
        let look = copies.look(at: key)
        let value = await cache.get(key)
        copies.offer(key, value, look)
        return value
    }

    func lease(_ keys: [CacheKey]) async -> [CacheLease] {
        let held = keys.map { copies.value(of: $0) }
        let missing = keys.indices.filter { held[$0] == nil }
        guard missing.count < keys.count else { return await leaseAll(keys) }
        var leases = held.map { CacheLease($0.map { .filled($0) } ?? .unavailable) }
        for (index, lease) in zip(missing, await leaseAll(missing.map { keys[$0] })) {
            leases[index] = lease
        }
        return leases
    }

    private func leaseAll(_ keys: [CacheKey]) async -> [CacheLease] {
        guard !keys.isEmpty else { return [] }
        let looks = keys.map { copies.look(at: $0) }
        let leases = await cache.lease(keys)
        for (index, lease) in leases.enumerated() {
            copies.offer(keys[index], lease.value, looks[index])
        }
        return leases
    }

    func lease(_ key: CacheKey) async -> CacheLease {
        if let value = copies.value(of: key) { return CacheLease(.filled(value)) }
        let look = copies.look(at: key)
        let lease = await cache.lease(key)
        copies.offer(key, lease.value, look)
        return lease
    }

    // MARK: The rest

    func set(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async {
        await cache.set(key, value, ttl: ttl)
    }

    func add(_ key: CacheKey, _ value: [UInt8], ttl: Duration) async -> Bool {
        await cache.add(key, value, ttl: ttl)
    }

    func delete(_ keys: [CacheKey]) async -> Bool { await cache.delete(keys) }

    func expire(_ keys: [CacheKey]) async -> Bool { await cache.expire(keys) }

    func reserve(_ key: CacheKey) async -> CacheReservation { await cache.reserve(key) }

    func store(
        _ key: CacheKey,
        _ value: [UInt8],
        ttl: Duration,
        token: CacheToken
    ) async -> Bool {
        await cache.store(key, value, ttl: ttl, token: token)
    }

    func settle(_ filled: [CacheFilling], ttl: Duration) { cache.settle(filled, ttl: ttl) }
}

extension CacheLease {
    fileprivate var value: [UInt8]? {
        if case .filled(let value) = reservation { value } else { nil }
    }
}

/// The copies of one loop: bounded in number, bytes and age.
///
/// A value is held once its key was asked for ``threshold`` times within a second on this loop; the counting is by
/// hash, so a key may be taken for as hot as one beside it, which costs room and nothing else.
package final class HotCopies: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    package static let defaultLifetime = Duration.seconds(1)
    package static let threshold: UInt8 = 16
    package static let entryLimit = 2_048
    package static let byteLimit = 16 << 20
    package static let valueLimit = 64 << 10

    /// Power of two.
    private static let cells = 4_096

    private struct Copy {
        let value: [UInt8]
        let since: UInt64
    }

    /// What was so when the cache was asked: a copy of an answer from before a drop is not taken.
    struct Look {
        fileprivate let cell: Int
        fileprivate let drops: UInt32
        fileprivate let isHot: Bool
        /// A copy is as old as the question that it answers.
        fileprivate let at: UInt64
    }

    private let lifetime: UInt64
    private let now: () -> UInt64
    private var copies: [CacheKey: Copy] = [:]
    private var bytes = 0
    private var counts = [UInt8](repeating: 0, count: cells)
    private var drops = [UInt32](repeating: 0, count: cells)
    private var second: UInt64 = 0
    private var nextSweep: UInt64 = 0

    /// How often a value was answered from here.
    package private(set) var hits = 0

    /// Told the age of each copy that is answered, in milliseconds.
    var observe: ((UInt64) -> Void)?

    /// `now` gives milliseconds.
    package init(lifetime: Duration = defaultLifetime, now: @escaping () -> UInt64) {
        self.lifetime = lifetime.wholeMilliseconds
        self.now = now
    }

    package var count: Int { copies.count }

    func value(of key: CacheKey) -> [UInt8]? {
        guard let copy = copies[key], isYoung(copy, at: now()) else { return nil }
        hits += 1
        observe?(now() - copy.since)
        return copy.value
    }

    /// Counts one question.
    func look(at key: CacheKey) -> Look {
        let now = now()
        let second = now / 1_000
        if second != self.second {
            self.second = second
            for cell in 0..<Self.cells { counts[cell] = 0 }
        }
        let cell = Self.cell(of: key)
        if counts[cell] < .max { counts[cell] += 1 }
        let isHot = counts[cell] >= Self.threshold
        return Look(cell: cell, drops: drops[cell], isHot: isHot, at: now)
    }

    func offer(_ key: CacheKey, _ value: [UInt8]?, _ look: Look) {
        guard look.isHot, let value, value.count <= Self.valueLimit, drops[look.cell] == look.drops
        else { return }
        remove(key)
        if copies.count >= Self.entryLimit || bytes + value.count > Self.byteLimit { sweep() }
        guard copies.count < Self.entryLimit, bytes + value.count <= Self.byteLimit else { return }
        copies[key] = Copy(value: value, since: look.at)
        bytes += value.count
    }

    /// Nobody reads them from here any more, nor what is under way from the cache.
    func drop(_ keys: [CacheKey]) {
        for key in keys {
            remove(key)
            drops[Self.cell(of: key)] &+= 1
        }
    }

    private func isYoung(_ copy: Copy, at now: UInt64) -> Bool { now < copy.since + lifetime }

    private func remove(_ key: CacheKey) {
        guard let old = copies.removeValue(forKey: key) else { return }
        bytes -= old.value.count
    }

    /// Makes room, but not for each value that does not fit.
    private func sweep() {
        let now = now()
        guard now >= nextSweep else { return }
        nextSweep = now + lifetime / 8
        copies = copies.filter { isYoung($0.value, at: now) }
        bytes = copies.values.reduce(0) { $0 + $1.value.count }
    }

    private static func cell(of key: CacheKey) -> Int { key.hashValue & (cells - 1) }
}
