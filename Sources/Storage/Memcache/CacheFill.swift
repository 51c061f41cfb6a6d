import EventLoops

extension CacheClient {
    /// The cached value, or the loaded one, which is then cached for `ttl`.
    ///
    /// One loads and the others wait for it, on all nodes together, or take the expired value where they allow it;
    /// after ``CacheLimits/fillPatience`` they load themselves, one for each loop. What `load` gives nil for is
    /// answered but not cached. A delete between `load`'s reading and the storing wins: what was loaded is then
    /// answered but not stored.
    package func fill(
        _ key: CacheKey,
        ttl: Duration,
        stale: StaleValues = .refused,
        load: () async throws -> [UInt8]?
    ) async throws -> [UInt8]? {
        let lease = await lease(key)
        if case .filled(let value) = lease.reservation { return value }
        let filled = try await fill([key], [lease], { _ in ttl }, stale: stale) { _ in
            guard let value = try await load() else { return [:] }
            return [key: value]
        }
        return filled[key]
    }

    /// As the fill of one key, for many at once: `load` is given those that nobody else loads, all in one call
    /// as a rule, and a second time those that others failed to fill in time.
    package func fill(
        _ keys: [CacheKey],
        ttl: Duration,
        stale: StaleValues = .refused,
        load: ([CacheKey]) async throws -> [CacheKey: [UInt8]]
    ) async throws -> [CacheKey: [UInt8]] {
        let keys = Array(Set(keys))
        guard !keys.isEmpty else { return [:] }
        return try await fill(keys, await lease(keys), { _ in ttl }, stale: stale, load: load)
    }

    /// The same for values of several kinds, each of which lives as long as `ttl` says of its key.
    package func fill(
        _ keys: [CacheKey],
        ttl: (CacheKey) -> Duration,
        load: ([CacheKey]) async throws -> [CacheKey: [UInt8]]
    ) async throws -> [CacheKey: [UInt8]] {
        let keys = Array(Set(keys))
        guard !keys.isEmpty else { return [:] }
        return try await fill(keys, await lease(keys), ttl, stale: .refused, load: load)
    }

    private func settle(_ filled: [CacheFilling], _ ttl: (CacheKey) -> Duration) {
        for (lifetime, part) in Dictionary(grouping: filled, by: { ttl($0.key) }) {
            settle(part, ttl: lifetime)
        }
    }

    private func fill(
        _ keys: [CacheKey],
        _ leases: [CacheLease],
        _ ttl: (CacheKey) -> Duration,
        stale: StaleValues,
        load: ([CacheKey]) async throws -> [CacheKey: [UInt8]]
    ) async throws -> [CacheKey: [UInt8]] {
        let board = board
        let began = EventLoop.nanoseconds
        var fill = CacheFill(keys: keys, stale: stale)
        fill.take(leases)
        while true {
            fill.patienceEnded =
                EventLoop.nanoseconds - began
                >= board.patience.wholeMilliseconds * 1_000_000
            for key in fill.waiting {
                guard let answer = try await board.sharedLoad(of: key, since: began) else {
                    continue
                }
                fill.answer(key, answer)
            }
            let due = fill.takeDue()
            if !due.isEmpty {
                let shared = board.share(due.unreserved)
                do {
                    let loaded = try await load(due.keys)
                    settle(due.fillings(loaded), ttl)
                    board.finish(shared, loaded)
                    fill.answer(due.keys, loaded)
                } catch {
                    settle(due.fillings([:]), ttl)
                    board.fail(shared, error)
                    throw error
                }
            }
            guard let first = fill.waiting.first else { return fill.found }
            if due.isEmpty { await board.wait(for: first, atMost: fill.nextPause()) }
            fill.take(await lease(fill.waiting))
        }
    }
}

/// One fill of some keys on its way: which are found, which are ours to load, and which another loads.
///
/// A fill may not resurrect: what it loaded may be older than a delete that came between. So it stores only by
/// compare-and-set on a marker that it put *before* it loaded; a delete takes the marker away, and the store fails.
package struct CacheFill {
    /// What is to be loaded now.
    package struct Due {
        package var reserved: [(key: CacheKey, token: CacheToken)] = []
        /// Answered, but not stored: there is no cache, or another holds the marker for too long.
        package var unreserved: [CacheKey] = []

        package var isEmpty: Bool { reserved.isEmpty && unreserved.isEmpty }
        package var keys: [CacheKey] { reserved.map(\.key) + unreserved }

        func fillings(_ loaded: [CacheKey: [UInt8]]) -> [CacheFilling] {
            reserved.map { CacheFilling(key: $0.key, value: loaded[$0.key], token: $0.token) }
        }
    }

    package private(set) var found: [CacheKey: [UInt8]] = [:]
    /// Those that others load.
    package private(set) var waiting: [CacheKey]
    /// Set when the others have had their time.
    package var patienceEnded = false

    private let stale: StaleValues
    private var due = Due()
    private var pause = CacheLimits.fillPause

    package init(keys: [CacheKey], stale: StaleValues) {
        waiting = keys
        self.stale = stale
    }

    /// What a look at the ``waiting`` keys has found, in their order.
    package mutating func take(_ leases: [CacheLease]) {
        precondition(leases.count == waiting.count, "a lease for each key")
        var still: [CacheKey] = []
        for (key, lease) in zip(waiting, leases) {
            switch lease.reservation {
            case .filled(let value): found[key] = value
            case .owned(let token): due.reserved.append((key, token))
            case .unavailable: due.unreserved.append(key)
            case .taken:
                if stale == .allowed, let value = lease.stale {
                    found[key] = value
                } else {
                    still.append(key)
                }
            }
        }
        waiting = still
    }

    /// What must be loaded now; the second time only what has become due since.
    package mutating func takeDue() -> Due {
        defer { due = Due() }
        if patienceEnded {
            due.unreserved += waiting
            waiting = []
        }
        return due
    }

    package mutating func answer(_ keys: [CacheKey], _ loaded: [CacheKey: [UInt8]]) {
        for key in keys { found[key] = loaded[key] }
    }

    /// Another load on this loop has answered for a key that was waited for.
    mutating func answer(_ key: CacheKey, _ value: SharedValue) {
        waiting.removeAll { $0 == key }
        found[key] = value.bytes
    }

    mutating func nextPause() -> Duration {
        defer { pause = min(pause * 2, CacheLimits.fillPauseCeiling) }
        return pause
    }
}
