import Glibc
import JSON
import TestSupport
import Testing

/// The coordinator dies, or stops, at a named place of a move; another one ends what it began.
///
/// A few places are enough for every run; `TESSERA_ALL_FAILPOINTS=1 swift test --filter TakeoverTests` takes all.
@Suite(.serialized)
struct TakeoverTests {
    private static let works = [
        "observe", "precheck", "prepareTarget", "openStream", "copy", "attachStream", "measureLag",
        "verify", "prepareReverse", "fence", "awaitMarker", "compareTail", "advanceReverse",
        "release",
        "activate", "publish", "settleSource", "detachStream", "startReverse", "measureReverse",
        "stopReverse", "clean",
    ]
    private static let steps = [
        "prechecked", "prepared", "copying", "catchingUp", "verifying", "fencing", "fenced",
        "drained",
        "released", "activated", "published", "reverseSync", "retired", "cleaned",
    ]
    private static let few = [
        "copying.after:kill", "fence.after:kill", "fence.after:pause", "release.before:pause",
        "release.after:kill", "published.before:kill", "clean.after:kill",
    ]

    static var places: [String] {
        guard getenv("TESSERA_ALL_FAILPOINTS") != nil else { return few }
        return (works + steps).flatMap { name in
            ["before", "after"].flatMap { side in ["\(name).\(side):kill", "\(name).\(side):pause"]
            }
        }
    }

    @Test func `whatever stops a coordinator, another one ends the move`() async throws {
        let cluster = try await BareCluster.ready()
        var owner = try await cluster.owners(of: 7)[0]
        try await cluster.fill(7, on: owner, rows: 300)
        let writer = Writer(cluster, bucket: 7)
        async let writing: Void = writer.run()

        for (number, place) in Self.places.enumerated() {
            try await pass(place, number, on: cluster)

            let owners = try await cluster.owners(of: 7)
            #expect(owners == [1 - owner], "\(place)")
            owner = owners.first ?? owner
            #expect(
                try await cluster.rows(of: 7) == (owner == 0 ? [300, 0] : [0, 300]),
                "\(place)"
            )
            try await cluster.expect(0, ["doctor"])
        }

        await writer.stop()
        await writing
        let written = try await cluster.rows(of: 7, in: "counters.delta")
        #expect(written.reduce(0, +) == (await writer.acknowledged))
        await cluster.stop()
    }

    /// One move of bucket 7 to the other shard, in which a first coordinator comes as far as `place`.
    private func pass(_ place: String, _ number: Int, on cluster: BareCluster) async throws {
        let target = try await cluster.owners(of: 7) == [0] ? "s2" : "s1"
        let known = try await cluster.moves().count
        let doomed = try await cluster.startCoordinator(
            "doomed\(number)",
            failpoint: place,
            retentionSeconds: 1
        )
        try await cluster.awaitLeader("doomed\(number)")
        try await cluster.expect(0, ["pin", "7", "--to", target])
        try await cluster.expect(0, ["apply"])
        try await cluster.eventually("the first coordinator came to \(place)") {
            Self.hasStopped(doomed)
        }

        let successor = try await cluster.startCoordinator("next\(number)", retentionSeconds: 1)
        try await cluster.deposeLeader()
        try await cluster.awaitLeader("next\(number)")
        // One that slept wakes up in the middle of its successor's work.
        doomed.thaw()
        let move = try await cluster.awaitMove(of: 7, after: known)
        #expect(move["step"]?.string == "cleaned", "\(place): \(move["undoing"]?.string ?? "-")")
        await doomed.stop()
        await successor.stop()
        try await cluster.deposeLeader()
    }

    /// Ended by SIGKILL, or stopped by SIGSTOP.
    private static func hasStopped(_ process: ServerProcess) -> Bool {
        guard let pid = process.pid else { return true }
        let state = readText("/proc/\(pid)/stat") ?? ""
        return state.isEmpty || state.contains(") T ") || state.contains(") Z ")
    }
}
