internal import Etcd
internal import EventLoops
internal import Glibc
internal import JSON
internal import Sharding

/// What a process says of itself in etcd, beside the map that it uses.
package struct NodeIdentity: Sendable {
    package let name: String
    package let role: String
    /// The newest migration that it needs of each shard, by module.
    package let schemas: [String: Int]

    /// The name is of this machine and process, so that no other running process has it.
    package init(role: String, schemas: [String: Int] = [:]) {
        var host = [CChar](repeating: 0, count: 256)
        // Cut off at worst, and then still terminated by the last byte.
        _ = gethostname(&host, host.count - 1)
        let machine = host.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
        name = "\(role)-\(String(decoding: machine, as: UTF8.self))-\(getpid())"
        self.role = role
        self.schemas = schemas
    }
}

/// Tells which map a process uses, under a key of its own in etcd that ends with it: a coordinator deletes the rows of
/// a bucket that has moved only when nobody uses a map from before.
///
/// A hint for patience, not a safeguard: a process that cannot tell is refused by the shards all the same.
final class NodeReporter: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// The process's key is this and its name.
    static let prefix = "/tessera/nodes/"

    /// How long the report outlives its process.
    static let leaseSeconds: Int64 = 15

    /// How often the lease is kept; a new map is told sooner.
    static let interval = Duration.seconds(2)

    /// How often counts of each bucket's use are told.
    static let loadsInterval = Duration.seconds(30)

    /// Between two words about new maps.
    static let shortestPause = Duration.milliseconds(50)

    private let identity: NodeIdentity
    private let etcd: EtcdClient
    private let generation: () -> Int64
    private let tallies: () async -> [BucketTally]
    private let report: (String) -> Void
    private var lease: EtcdLease?
    private var told: Int64?
    private var isTroubled = false
    private var loads = BucketLoads()
    private var countedAt: UInt64
    private let news: LoopSignal

    /// `generation` gives the oldest map that a loop of the process uses, `tallies` what each has counted since it was
    /// asked last.
    init(
        _ identity: NodeIdentity,
        etcd: EtcdClient,
        generation: @escaping () -> Int64,
        tallies: @escaping () async -> [BucketTally],
        report: @escaping (String) -> Void
    ) {
        self.identity = identity
        self.etcd = etcd
        self.generation = generation
        self.tallies = tallies
        self.report = report
        countedAt = etcd.loop.milliseconds
        news = LoopSignal(loop: etcd.loop)
    }

    /// The generation may be another one now: a coordinator waits to hear of it before it cleans up.
    func noticeMap() { news.give() }

    /// Tells until the task is cancelled.
    func run() async {
        etcd.loop.assertOnLoop()
        while !Task.isCancelled {
            await tell()
            await tellLoads()
            await news.wait(atMost: Self.interval)
            // Ends early only by cancellation, which the loop's condition sees.
            do { try await etcd.loop.sleep(for: Self.shortestPause) } catch { return }
        }
    }

    private func tell() async {
        do {
            if let held = lease, try await etcd.keepAlive(held) == false { lease = nil }
            let now = generation()
            guard lease == nil || told != now else { return }
            let lease = try await heldLease()
            told = nil
            try await etcd.put(Self.prefix + identity.name, value(now), lease: lease)
            told = now
            isTroubled = false
        } catch {
            // Once for each outage: it may last.
            if !isTroubled { report("etcd was not told which map is used: \(error)") }
            isTroubled = true
        }
    }

    /// How often buckets are used: for plans, which can do without.
    private func tellLoads() async {
        let now = etcd.loop.milliseconds
        let elapsed = Duration.milliseconds(now - countedAt)
        guard elapsed >= Self.loadsInterval, let lease else { return }
        loads.add(await tallies(), over: elapsed / .seconds(1))
        countedAt = now
        do {
            try await etcd.put(
                BucketLoads.keyPrefix + identity.name,
                Array(loads.text.utf8),
                lease: lease
            )
        } catch {
            // Told again with the next counts; an outage of etcd was reported by `tell`.
            return
        }
    }

    private func heldLease() async throws -> EtcdLease {
        if let lease { return lease }
        let granted = try await etcd.grantLease(seconds: Self.leaseSeconds)
        lease = granted
        return granted
    }

    private func value(_ generation: Int64) -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.field("role", identity.role)
            json.field("generation", generation)
            json.key("schemas")
            json.object { json in
                for (module, number) in identity.schemas.sorted(by: { $0.key < $1.key }) {
                    json.key(module)
                    json.int(number)
                }
            }
        }
        return json.bytes
    }
}
