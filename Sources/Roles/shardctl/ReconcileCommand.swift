import ArgumentParser
import JSON
import Sharding

/// Compares counts with what they count, and repairs them.
struct ReconcileCommand: ClusterCommand {
    static let configuration = CommandConfiguration(
        commandName: "reconcile",
        abstract: "Compares counts with what they count, and repairs those that are wrong.",
        discussion: """
            Likes, answers, followers, follows and posts are counted as they happen. Workers recount them all the \
            time, slowly; this recounts some at once, or all. It may run while users are at work, and repairs \
            nothing unless --repair is given. Status 1 if a count is wrong and stays so.
            """
    )

    @Argument(help: "Ids of accounts or posts.")
    var ids: [Int64] = []

    @Flag(help: "Every count of every shard.")
    var all = false

    @Flag(help: "Make the counts right that are wrong.")
    var repair = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard all != !ids.isEmpty else { throw ValidationError("name ids, or give --all") }
        guard ids.allSatisfy({ $0 > 0 }) else { throw ValidationError("an id is above 0") }
    }

    func run(on cluster: Cluster) async throws {
        let recount = try await Recount(of: cluster, repairs: repair)
        let report = try recount.run(all ? nil : ids) { shard, part in
            guard all else { return }
            output.progress("\(shard): \(part.checked) counts, \(part.drifts.count) wrong")
        }
        output.print(text(report)) { json in
            json.field("checked", report.checked)
            json.field("wrong", report.drifts.count)
            json.key("counts")
            json.array { json in
                for drift in report.drifts { drift.write(to: &json) }
            }
            json.key("moving_buckets")
            json.array(report.moving.sorted().map(\.rawValue))
            json.key("unreachable")
            json.array(report.silent.map(\.name))
        }
        try judge(report)
    }

    private func text(_ report: Recount.Report) -> String {
        let sum = "\(report.checked) counts, \(report.drifts.count) wrong"
        guard !report.drifts.isEmpty else { return sum }
        let rows = report.drifts.map { drift in
            [
                String(drift.subject), drift.kind, "\(drift.counted)", "\(drift.truth)",
                drift.shard.name, drift.isRepaired ? "repaired" : "wrong",
            ]
        }
        return table(["ID", "KIND", "COUNTED", "TRUTH", "SHARD", "STATE"], rows) + "\n" + sum
    }

    private func judge(_ report: Recount.Report) throws {
        if !report.silent.isEmpty {
            let names = report.silent.map(\.name).joined(separator: ", ")
            throw Failure(.unavailable, "not all shards answered: \(names); run it again later")
        }
        if !report.moving.isEmpty {
            throw Failure(
                .conflict,
                "\(report.moving.count) buckets are on their way to another shard; run it again"
            )
        }
        let wrong = report.drifts.filter { !$0.isRepaired }.count
        if wrong > 0 {
            throw Failure(.unhealthy, "\(wrong) counts are wrong; --repair makes them right")
        }
    }
}
