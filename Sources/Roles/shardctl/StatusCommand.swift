import Administration
import ArgumentParser
import Coordination
import JSON
import Sharding

/// Shows each shard beside what the map says of it.
struct StatusCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows shards, moves and the coordinator; status 1 if a shard is not well."
    )

    @Flag(help: "Go on showing the moves, each second, until Ctrl-C.")
    var watch = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run(on cluster: Cluster) async throws {
        if watch { try await MoveWatch(cluster, output).forever() }
        let seen = try await ClusterView(of: cluster)
        output.print(text(seen) + "\n" + seen.control.text) { json in
            json.field("generation", seen.map.generation)
            json.field("healthy", seen.findings.isEmpty)
            seen.control.write(to: &json)
            json.key("shards")
            json.array { json in
                for shard in seen.map.shards { write(shard, seen, to: &json) }
            }
        }
        guard seen.findings.isEmpty else {
            throw Failure(.unhealthy, "\(seen.findings.count) findings; see shardctl doctor")
        }
    }

    private func text(_ seen: ClusterView) -> String {
        let rows = seen.map.shards.map { shard -> [String] in
            let held = seen.map.buckets(of: shard.id).count
            guard let one = seen.inspections[shard.id] ?? nil else {
                return [
                    shard.id.name, "down", "\(shard.weight)", "\(held)", "?", "?", "?",
                    shard.addresses,
                ]
            }
            let unwell = seen.findings.contains { $0.shard == shard.id }
            return [
                shard.id.name, unwell ? "unwell" : "up", "\(shard.weight)", "\(held)",
                "\(one.count(inState: "own"))",
                "\(one.migrations.count)", "\(one.connections)/\(one.maxConnections)",
                shard.addresses,
            ]
        }
        return "generation \(seen.map.generation)\n"
            + table(
                [
                    "SHARD", "STATE", "WEIGHT", "IN MAP", "OWNED", "MIGRATIONS", "CONNECTIONS",
                    "ADDRESS",
                ],
                rows
            )
    }

    private func write(_ shard: ShardRecord, _ seen: ClusterView, to json: inout JSONWriter) {
        let one = seen.inspections[shard.id] ?? nil
        json.object { json in
            json.field("shard", shard.id.name)
            json.field("address", shard.addresses)
            json.field("up", one != nil)
            json.field("weight", shard.weight)
            json.field("buckets_in_map", seen.map.buckets(of: shard.id).count)
            json.field("buckets_owned", one?.count(inState: "own"))
            json.field("migrations", one?.migrations.count)
            json.field("connections", one?.connections)
            json.field("max_connections", one?.maxConnections)
            json.field("version", one?.version)
            json.key("findings")
            json.array(seen.findings.filter { $0.shard == shard.id }.map(\.what))
        }
    }
}

/// The map beside what every shard says of itself.
struct ClusterView {
    let map: ShardMap
    let control: ControlState
    let inspections: [ShardID: ShardInspection?]
    let findings: [ClusterFinding]

    init(of cluster: Cluster) async throws {
        // The journal is read on both sides of the shards: what moved in between is no disagreement.
        let before = try await cluster.controlState()
        map = try await cluster.map()
        let secrets = try cluster.secrets()
        var inspections: [ShardID: ShardInspection?] = [:]
        for shard in map.shards {
            do {
                let session = try ShardSetup(shard: shard, secrets: secrets).moverSession()
                inspections[shard.id] = try ShardInspection(session)
            } catch let error where error.kind == .unreachable {
                inspections[shard.id] = .some(nil)
            } catch {
                throw Failure(error).at(shard.id)
            }
        }
        self.inspections = inspections
        control = try await cluster.controlState()
        findings = ClusterFinding.all(
            map: map,
            inspections: inspections,
            moving: Self.moving(before, control)
        )
    }

    /// Buckets of moves that were not over before, or are not now.
    private static func moving(_ before: ControlState, _ after: ControlState) -> Set<BucketID> {
        let over = Set(before.moves.filter(\.step.isFinal).map(\.spec.id))
        return Set(after.moves.filter { !over.contains($0.spec.id) }.flatMap(\.spec.buckets))
    }
}
