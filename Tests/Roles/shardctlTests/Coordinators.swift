import JSON
import TestSupport
import Testing

/// Coordinators of a test's cluster, as processes that can be killed.
extension BareCluster {
    /// Starts one; `failpoint` is where it kills or stops itself, such as `copy.after:kill`.
    func startCoordinator(
        _ name: String,
        failpoint: String? = nil,
        retentionSeconds: Int = 0,
        megabytesPerSecond: Int = 0
    ) async throws -> ServerProcess {
        var environment: [String] = []
        if let failpoint {
            environment = ["TESSERA_ALLOW_FAILPOINTS=1", "TESSERA_FAILPOINT=\(failpoint)"]
        }
        let process = ServerProcess(
            folder: try makeFolder(),
            command: ["/usr/bin/env"] + environment + [
                program("coordinator"), "--coordinator-name", name,
                "--etcd-endpoints", etcd.endpoint, "--etcd-user", "root",
                "--etcd-password-file", "\(secrets)/etcd",
                "--postgres-password-file", "\(secrets)/postgres-mover",
                "--moves-retention-seconds", "\(retentionSeconds)",
                "--moves-megabytes-per-second", "\(megabytesPerSecond)",
            ]
        )
        try await process.start()
        return process
    }

    /// Waits, at most a minute, until a coordinator of that name leads.
    func awaitLeader(_ name: String) async throws {
        try await eventually("\(name) leads") {
            try await status()["leader"]?.string == name
        }
    }

    /// Ends the leader's lease at once, which etcd would do some seconds after its death.
    func deposeLeader() async throws {
        _ = try await etcd.etcdctl(
            ["--user", "root:etcd-secret", "del", "/tessera/coordinator/leader"]
        )
    }

    /// Status 1 only says that some shard is not well; one that does not answer in time is asked again.
    func status() async throws -> JSONValue {
        for _ in 1..<10 {
            let result = try await run(["status", "--json"])
            if !result.output.isEmpty { return try JSONReader.parse(result.output) }
            guard result.status == 69 else { throw TestSupportError(result.errors) }
        }
        return try JSONReader.parse(try await expect(0, ["status", "--json"]).output)
    }

    /// Moves that have begun, newest last.
    func moves() async throws -> [JSONValue] {
        try await status()["moves"]?.array ?? []
    }

    /// The newest move of the bucket, when it and all others are over: a plan may balance others beside it.
    func awaitMove(of bucket: Int, after count: Int) async throws -> JSONValue {
        var last: JSONValue?
        try await eventually("the moves are over") {
            let status = try await status()
            let moves = status["moves"]?.array ?? []
            last = moves.dropFirst(count).last { move in
                (move["buckets"]?.array ?? []).contains { $0.int == bucket }
            }
            return last != nil && status["pending"]?.int == 0
                && moves.allSatisfy { $0["over"]?.bool == true }
        }
        return try #require(last)
    }

    /// Waits for an event that other processes bring about; two minutes are for a machine that is very busy.
    func eventually(_ what: String, _ isSo: () async throws -> Bool) async throws {
        for _ in 0..<600 {
            if try await isSo() { return }
            try await Task.sleep(for: .milliseconds(200))
        }
        throw TestSupportError("it never happened that \(what)")
    }

    // MARK: Rows

    /// Puts rows into two tables of the bucket, on the shard that owns it.
    func fill(_ bucket: Int, on shard: Int, rows: Int) async throws {
        try await servers[shard].psql(
            """
            INSERT INTO counters.total (bucket, subject, kind, amount)
            SELECT \(bucket), n, 1, n FROM generate_series(1, \(rows)) AS n;
            """,
            database: "tessera"
        )
    }

    /// Rows of the bucket on each server.
    func rows(of bucket: Int, in table: String = "counters.total") async throws -> [Int] {
        var counts: [Int] = []
        for server in servers {
            let count = try await server.psql(
                "SELECT count(*) FROM \(table) WHERE bucket = \(bucket)",
                database: "tessera"
            )
            counts.append(Int(count.filter(\.isNumber)) ?? -1)
        }
        return counts
    }

    /// On how many servers the bucket is owned.
    func owners(of bucket: Int) async throws -> [Int] {
        var owners: [Int] = []
        for (number, server) in servers.enumerated() {
            let state = try await server.psql(
                "SELECT state FROM control.bucket_owner WHERE bucket = \(bucket)",
                database: "tessera"
            )
            if state.contains("own") { owners.append(number) }
        }
        return owners
    }
}

/// Writes rows into one bucket, one after the other, wherever the bucket is, and counts those that were acknowledged.
actor Writer {
    private let cluster: BareCluster
    private let bucket: Int
    private var isStopped = false
    private var place = 0
    private(set) var acknowledged = 0

    init(_ cluster: BareCluster, bucket: Int) {
        self.cluster = cluster
        self.bucket = bucket
    }

    func run() async {
        while !isStopped && !Task.isCancelled {
            do {
                try await cluster.servers[place].psql(
                    """
                    INSERT INTO counters.delta (bucket, subject, kind, amount)
                    VALUES (\(bucket), 7, 7, 1);
                    """,
                    database: "tessera"
                )
                acknowledged += 1
            } catch {
                // Refused here: another shard owns it, or will soon.
                place = (place + 1) % cluster.servers.count
            }
        }
    }

    func stop() { isStopped = true }
}
