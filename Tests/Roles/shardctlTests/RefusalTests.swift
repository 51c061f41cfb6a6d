import JSON
import TestSupport
import Testing

/// What cannot work is refused before anything is changed, by a line that says what to do.
@Suite(.serialized)
struct RefusalTests {
    @Test func `a server that cannot be a shard is named with all that it lacks`() async throws {
        let bare = try await BareCluster.ready()
        let poor = try await PostgresServer.start(settings: [
            "wal_level = replica", "max_wal_senders = 1", "max_replication_slots = 0",
        ])
        // A shard of somebody else's cluster, in a database beside ours.
        let foreign = try await TestShard.make(id: "s1", on: poor)
        try await foreign.psql("UPDATE control.shard SET cluster = repeat('f', 32)")
        let strange = try await poor.newDatabase()
        try await poor.psql("CREATE TABLE somebody_elses (n int)", database: strange)
        let before = try await bare.expect(0, ["map", "show", "--json"]).output

        let address = ["shard", "add", "s3", "--address", "127.0.0.1:\(poor.port)"]
        let cases: [(Int32, [String], [String])] = [
            (69, ["shard", "add", "s3", "--address", "127.0.0.1:1"], ["does not answer"]),
            (
                65, address,
                [
                    "its wal_level is replica: set wal_level = logical and restart it",
                    "0 of max_replication_slots = 0 are in use, and 3 must be free",
                    "0 of max_wal_senders = 1 are in use",
                ]
            ),
            (
                65, address + ["--database", foreign.database],
                ["its database is shard s1 of another Tessera (cluster ffffffff, this is "]
            ),
            (
                65, address + ["--database", strange],
                ["its database has 1 tables of somebody else: give an empty server"]
            ),
            (
                73, ["shard", "add", "s3", "--address", "127.0.0.1:\(bare.servers[1].port)"],
                ["is already shard s2"]
            ),
        ]
        for (code, arguments, lines) in cases {
            let result = try await bare.expect(code, arguments + bare.migrations)
            for line in lines {
                #expect(result.errors.contains(line), "\(arguments): \(result.errors)")
            }
        }

        #expect(try await bare.expect(0, ["map", "show", "--json"]).output == before)
        let databases = try await poor.psql(
            "SELECT count(*) FROM pg_database WHERE datname = 'tessera'"
        )
        #expect(databases == "0")
        await poor.process.stop()
        await bare.stop()
    }

    @Test func `a plan that cannot work, and one for another cluster's data, are refused`()
        async throws
    {
        let bare = try await BareCluster.ready()
        let target = try await bare.owners(of: 7) == [0] ? 2 : 1
        try await bare.expect(0, ["pin", "7", "--to", "s\(target)"])
        let second = bare.servers[1]
        func ours() async throws -> String {
            try await second.psql("SELECT cluster FROM control.shard", database: "tessera")
        }
        let name = try await ours()
        // What breaks it on the second shard, what mends it, what is then refused and how.
        let cases: [(String, String, [(Int32, [String], String)])] = [
            (
                "UPDATE control.shard SET cluster = repeat('f', 32)",
                "UPDATE control.shard SET cluster = '\(name)'",
                [
                    (65, ["apply"], "s2: its database is shard s2 of another Tessera"),
                    (
                        73, ["init"] + bare.named + bare.migrations,
                        "s2 is shard s2 of another Tessera"
                    ),
                    (
                        73, ["map", "import", "--replace", "--yes"] + bare.named,
                        "s2 belongs to another Tessera"
                    ),
                    (1, ["doctor"], "its database belongs to another Tessera"),
                ]
            ),
            (
                "ALTER TABLE counters.total ADD COLUMN more integer",
                "ALTER TABLE counters.total DROP COLUMN more",
                [(65, ["apply"], "the schemas differ (s1 | s2): shardctl migrate")]
            ),
            (
                "UPDATE control.migration SET checksum = 'other' WHERE module = 'Jobs'",
                "",
                [(65, ["migrate"] + bare.migrations, "has changed since it ran")]
            ),
        ]
        for (breaks, mends, refusals) in cases {
            try await second.psql(breaks, database: "tessera")
            for (code, arguments, line) in refusals {
                let result = try await bare.expect(code, arguments)
                #expect((result.output + result.errors).contains(line), "\(result)")
            }
            if !mends.isEmpty { try await second.psql(mends, database: "tessera") }
        }
        #expect(try await bare.moves().isEmpty)

        let wrong: [(Int32, [String], String)] = [
            (64, ["pin", "1024", "--to", "s1"], "there is no bucket '1024'"),
            (64, ["pin", "7", "--to", "s9"], "s9"),
            (64, ["abort", "12"], "is not a move's name"),
        ]
        for (code, arguments, line) in wrong {
            let result = try await bare.expect(code, arguments)
            #expect(result.errors.contains(line), "\(arguments): \(result.errors)")
        }
        await bare.stop()
    }

    @Test func `programs of different versions leave each other's work alone`() async throws {
        let bare = try await BareCluster.ready()
        func put(_ key: String, _ value: String) async throws {
            let result = try await bare.etcd.etcdctl(
                ["--user", "root:etcd-secret", "put", "/tessera/coordinator/\(key)", value]
            )
            #expect(result.status == 0, "\(result.errors)")
        }

        try await put("leader", #"{"name":"old","format":0,"lease":"1","since":1}"#)
        let old = try await bare.expect(73, ["pause"])
        #expect(old.errors.contains("is of an older version"), "\(old.errors)")
        #expect(old.errors.contains("restart the coordinators with this version first"))
        try await bare.deposeLeader()

        try await put("intent", #"{"version":2}"#)
        let new = try await bare.expect(73, ["plan"])
        #expect(new.errors.contains("this program is too old for it"), "\(new.errors)")
        let coordinator = try await bare.startCoordinator("one")
        try await bare.eventually("the coordinator leaves the lead") {
            coordinator.log.contains("cannot lead") && coordinator.log.contains("too old")
        }
        await coordinator.stop()
        await bare.stop()
    }
}
