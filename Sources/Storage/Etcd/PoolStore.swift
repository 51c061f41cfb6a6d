internal import EventLoops
package import Sharding

/// The maps of the cache pools in etcd: one value for each pool, changed by compare-and-set only.
package struct PoolStore: Sendable {
    package static let prefix = "/tessera/pools/"

    package let etcd: EtcdClient

    package init(etcd: EtcdClient) {
        self.etcd = etcd
    }

    /// A map as it was stored, and the revision that a compare-and-set compares.
    package struct Stored: Sendable {
        package let map: PoolMap
        package let revision: Int64
    }

    /// Nil while the pool is used as the settings draw it.
    package func load(_ pool: String) async throws -> Stored? {
        guard let entry = try await etcd.get(Self.prefix + pool) else { return nil }
        return Stored(map: try Self.map(of: entry), revision: entry.revision)
    }

    /// Every stored map by the name of its pool; one that cannot be read is left out and reported.
    package func all(onTrouble: (String) -> Void) async throws -> [String: PoolMap] {
        var maps: [String: PoolMap] = [:]
        for entry in try await etcd.snapshot(prefix: Self.prefix).entries {
            do {
                maps[String(entry.key.dropFirst(Self.prefix.count))] = try Self.map(of: entry)
            } catch {
                onTrouble("\(entry.key) cannot be read: \(error)")
            }
        }
        return maps
    }

    /// Stores `map` if what is there is still `previous`; false when somebody else was faster.
    package func save(
        _ map: PoolMap,
        of pool: String,
        replacing previous: Stored?
    ) async throws(EtcdError) -> Bool {
        let expectation = previous.map { EtcdExpectation.revision($0.revision) } ?? .absent
        let text = Array(map.text.utf8)
        return try await etcd.put(Self.prefix + pool, text, expecting: expectation) != nil
    }

    private static func map(of entry: EtcdEntry) throws(PoolMapError) -> PoolMap {
        // What is no UTF-8 is no map either.
        try PoolMap(text: entry.text ?? "")
    }

    private static let firstPause = Duration.milliseconds(100)
    private static let longestPause = Duration.seconds(5)

    /// Calls `body` with each map of the pool stored from now on, beginning with the present one, until cancelled;
    /// one that cannot be read is reported and passed over.
    package func follow(
        _ pool: String,
        _ body: (PoolMap) async -> Void,
        onTrouble: (String) -> Void
    ) async {
        func deliver(_ entry: EtcdEntry) async {
            do {
                await body(try Self.map(of: entry))
            } catch {
                onTrouble("\(entry.key) cannot be read: \(error)")
            }
        }
        var pause = Self.firstPause
        while !Task.isCancelled {
            do {
                let snapshot = try await etcd.snapshot(of: Self.prefix + pool)
                if let entry = snapshot.entries.first { await deliver(entry) }
                pause = Self.firstPause
                try await etcd.watch(Self.prefix + pool, from: snapshot.revision + 1) { change in
                    if case .put(let entry) = change { await deliver(entry) }
                }
            } catch {
                if Task.isCancelled { return }
                onTrouble("\(error)")
            }
            // Ends early only by cancellation, which the loop's condition sees.
            do { try await etcd.loop.sleep(for: pause) } catch { return }
            pause = min(pause * 2, Self.longestPause)
        }
    }
}
