internal import EventLoops
package import Sharding

/// The map in etcd: one value under one key, changed by compare-and-set only.
package struct MapStore: Sendable {
    package static let defaultKey = "/tessera/map"

    package let etcd: EtcdClient
    package let key: String

    package init(etcd: EtcdClient, key: String = MapStore.defaultKey) {
        self.etcd = etcd
        self.key = key
    }

    /// The map as it was stored, and what a compare-and-set or a watch needs to go on from there.
    package struct Stored: Sendable {
        package let map: ShardMap
        /// Of the write that stored it.
        package let revision: Int64
        /// Of etcd when it was read: a watch goes on from the next one.
        package let seenAt: Int64
    }

    /// Nil when no map has been stored yet.
    package func load() async throws -> Stored? {
        let snapshot = try await etcd.snapshot(of: key)
        guard let entry = snapshot.entries.first else { return nil }
        return Stored(
            map: try Self.map(of: entry),
            revision: entry.revision,
            seenAt: snapshot.revision
        )
    }

    /// Stores `map` if what is there is still `previous`; false when somebody else was faster.
    package func save(_ map: ShardMap, replacing previous: Stored?) async throws(EtcdError) -> Bool
    {
        let expectation = previous.map { EtcdExpectation.revision($0.revision) } ?? .absent
        return try await etcd.put(key, Array(map.text.utf8), expecting: expectation) != nil
    }

    private static let clusterKey = "/tessera/cluster"

    /// The name that the cluster has, or gets now: whoever comes first says which.
    package func cluster(orDraw proposed: ClusterID) async throws -> ClusterID {
        if let known = try await knownCluster() { return known }
        let text = Array(proposed.text.utf8)
        if try await etcd.put(Self.clusterKey, text, expecting: .absent) != nil { return proposed }
        return try await knownCluster() ?? proposed
    }

    /// Nil before the first `shardctl init`, and when etcd has lost it.
    package func knownCluster() async throws -> ClusterID? {
        guard let entry = try await etcd.get(Self.clusterKey) else { return nil }
        guard let id = entry.text.flatMap({ ClusterID($0) }) else {
            throw ShardMapError("\(Self.clusterKey) in etcd is not a cluster's name")
        }
        return id
    }

    static func map(of entry: EtcdEntry) throws(ShardMapError) -> ShardMap {
        guard let text = entry.text else { throw ShardMapError("the stored map is not UTF-8") }
        return try ShardMap(text: text)
    }

    /// Calls `body` with each map stored from now on, beginning with the present one, until cancelled; a map
    /// that cannot be read is reported and passed over, since the one in use is better than none.
    package func follow(
        _ body: (ShardMap) async -> Void,
        onTrouble: (String) -> Void
    ) async {
        var pause = Duration.milliseconds(100)
        while !Task.isCancelled {
            do {
                let snapshot = try await etcd.snapshot(of: key)
                if let entry = snapshot.entries.first {
                    await deliver(entry, body, onTrouble: onTrouble)
                }
                pause = .milliseconds(100)
                try await etcd.watch(key, from: snapshot.revision + 1) { change in
                    guard case .put(let entry) = change else { return }
                    await deliver(entry, body, onTrouble: onTrouble)
                }
            } catch {
                if Task.isCancelled { return }
                onTrouble("\(error)")
            }
            // Ends early only by cancellation, which the loop's condition sees.
            do { try await etcd.loop.sleep(for: pause) } catch { return }
            pause = min(pause * 2, .seconds(5))
        }
    }

    private func deliver(
        _ entry: EtcdEntry,
        _ body: (ShardMap) async -> Void,
        onTrouble: (String) -> Void
    ) async {
        do {
            await body(try Self.map(of: entry))
        } catch {
            onTrouble("the map of revision \(entry.revision) cannot be read: \(error)")
        }
    }
}
