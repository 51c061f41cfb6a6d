import Administration
import ArgumentParser
import Coordination
import Etcd
import EventLoops
import JSON
import Journals
import Movement
import Sharding

/// Looks for what is wrong, and mends what is safe to mend, by consent.
struct DoctorCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract:
            "Compares map, journal and shards, and lists what does not agree; status 1 if any.",
        discussion: """
            With --repair it mends what it can: it removes what moves left behind that are over, ends what is between \
            two owners, and puts into the map what the shards themselves say. It never deletes rows on a shard \
            that owns them. What is left afterwards needs a person; docs/operations/ tells what to do.
            """
    )

    @Flag(help: "Mend what can be mended safely; it asks first.")
    var repair = false

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        var findings = try await Diagnosis(cluster).findings()
        var repaired: [String] = []
        if repair, findings.contains(where: { $0.remedy != nil }) {
            repaired = try await mend(findings, cluster)
            findings = try await Diagnosis(cluster).findings()
        }
        report(findings, repaired)
        guard findings.isEmpty else {
            throw Failure(.unhealthy, "\(findings.count) findings")
        }
    }

    private func mend(_ findings: [Finding], _ cluster: Cluster) async throws -> [String] {
        for finding in findings {
            output.progress("\(finding.line)\(finding.remedy == nil ? "" : " [can be mended]")")
        }
        let count = findings.filter { $0.remedy != nil }.count
        try confirm("mend \(count) of \(findings.count) findings?", yes: yes, output)
        let driver = try await Diagnosis(cluster).driver()
        var done: [String] = []
        for finding in findings {
            switch finding.remedy {
            case .leftover(let leftover): done.append(try await driver.repair(leftover))
            case .map(let truth):
                let map = try await cluster.changeMap { map in
                    var changed = false
                    for (bucket, owner) in truth where map[bucket].epoch < owner.epoch {
                        map[bucket].shard = owner.shard
                        map[bucket].epoch = owner.epoch
                        changed = true
                    }
                    return changed
                }
                done.append("the map says what the shards say; generation \(map.generation)")
            case nil: continue
            }
            output.progress("mended: \(done[done.count - 1])")
        }
        return done
    }

    private func report(_ findings: [Finding], _ repaired: [String]) {
        let lines = findings.map(\.line)
        output.print(lines.isEmpty ? "nothing found" : lines.joined(separator: "\n")) { json in
            json.field("repaired", repaired)
            json.key("findings")
            json.array { json in
                for finding in findings {
                    json.object { json in
                        json.field("shard", finding.shard?.name)
                        json.field("finding", finding.what)
                        json.field("repairable", finding.remedy != nil)
                    }
                }
            }
        }
    }
}

/// One thing that is wrong, and what can be done about it without a person.
struct Finding {
    enum Remedy {
        case leftover(Leftover)
        /// What the map should say.
        case map([BucketID: (shard: ShardID, epoch: Epoch)])
    }

    let shard: ShardID?
    let what: String
    var remedy: Remedy?

    var line: String { "\(shard?.name ?? "cluster"): \(what)" }
}

/// Gathers the findings of a cluster.
private struct Diagnosis {
    /// How often it looks again when moves begin meanwhile.
    private static let looks = 5

    let cluster: Cluster

    init(_ cluster: Cluster) { self.cluster = cluster }

    func findings() async throws -> [Finding] {
        let view = try await ClusterView(of: cluster)
        var findings = view.findings.map { Finding(shard: $0.shard, what: $0.what) }
        if let stale = staleMap(view) {
            // The map's remedy stands where the disagreement was found.
            findings.removeAll { $0.what.contains("that the map gives it") }
            findings.append(stale)
        }
        findings += strayWishes(view)
        return findings + (try await leftovers(view))
    }

    /// Reaches the shards with the mover's rights.
    func driver() async throws -> MoveDriver {
        let map = try await cluster.map()
        return MoveDriver(
            settings: MoveDriverSettings(password: try cluster.secrets().mover),
            offload: Offload(threads: 2, queueLimit: 64, name: "doctor"),
            cluster: { map.cluster }
        ) { map.shard($0) }
    }

    /// Buckets that a shard owns at a higher epoch than the map knows.
    private func staleMap(_ view: ClusterView) -> Finding? {
        let moving = Set(view.control.active.flatMap(\.spec.buckets))
        var truth: [BucketID: (shard: ShardID, epoch: Epoch)] = [:]
        for (shard, seen) in view.inspections.sorted(by: { $0.key < $1.key }) {
            for (bucket, owner) in seen?.owners ?? [:]
            where owner.state == "own" && owner.epoch > view.map[bucket].epoch
                && !moving.contains(bucket)
            {
                truth[bucket] = (shard, owner.epoch)
            }
        }
        guard !truth.isEmpty else { return nil }
        return Finding(
            shard: nil,
            what: "the map is behind the shards for \(truth.count) buckets",
            remedy: .map(truth)
        )
    }

    private func strayWishes(_ view: ClusterView) -> [Finding] {
        let intent = view.control.intent
        var findings: [Finding] = []
        for drained in intent.drains.sorted() where view.map.shard(drained) == nil {
            findings.append(
                Finding(
                    shard: nil,
                    what: "\(drained) is to be empty, but is no shard: "
                        + "shardctl shard drain \(drained) --undo"
                )
            )
        }
        for (bucket, shard) in intent.pins.sorted(by: { $0.key < $1.key })
        where view.map.shard(shard) == nil {
            findings.append(
                Finding(
                    shard: nil,
                    what: "bucket \(bucket) is pinned to \(shard), which is no shard: "
                        + "shardctl unpin \(bucket)"
                )
            )
        }
        return findings
    }

    /// What moves that are over have left on the shards that answer.
    private func leftovers(_ view: ClusterView) async throws -> [Finding] {
        let driver = try await driver()
        var state = view.control
        for _ in 1...Self.looks {
            var found: [Leftover] = []
            for shard in view.map.shards where isUsable(view.inspections[shard.id] ?? nil, view.map)
            {
                found += try await driver.leftovers(on: shard.id, active: state.active.map(\.spec))
            }
            // A move that has begun meanwhile has not left anything behind yet.
            let after = try await cluster.controlState()
            let known = Set(state.moves.map(\.spec.id))
            if after.moves.allSatisfy({ known.contains($0.spec.id) }) {
                return found.map { Finding(shard: $0.shard, what: what($0), remedy: .leftover($0)) }
            }
            state = after
        }
        throw Failure(.conflict, "moves begin all the time: shardctl pause, then run this again")
    }

    /// Of this cluster, and with the tables that moves are noted in.
    private func isUsable(_ shard: ShardInspection?, _ map: ShardMap) -> Bool {
        guard let shard, shard.identity != nil else { return false }
        let isOurs = map.cluster == nil || shard.cluster == nil || shard.cluster == map.cluster
        return isOurs && shard.migrations.contains { $0.module == "Database" && $0.number >= 3 }
    }

    private func what(_ leftover: Leftover) -> String {
        let prefix = "\(leftover.shard): "
        let text = leftover.description
        return text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : text
    }
}
