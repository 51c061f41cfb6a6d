import JSON
import TestSupport
import Testing

/// The program itself, run against real PostgreSQL and etcd processes.
@Suite(.serialized)
struct ShardctlTests {
    @Test func `init and migrate make a cluster, and a second time nothing changes`() async throws {
        let bare = try await BareCluster.make(shards: 2)

        for _ in 1...2 {
            try await bare.expect(0, ["init"] + bare.named + bare.migrations)
            try await bare.expect(0, ["migrate"] + bare.migrations)
        }

        let status = try await bare.expect(0, ["status", "--json"])
        let json = try JSONReader.parse(status.output)
        #expect(json["generation"]?.int == 1)
        #expect(json["healthy"]?.bool == true)
        #expect(json["shards"]?.array?.map { $0["buckets_owned"]?.int } == [512, 512])
        let doctor = try await bare.expect(0, ["doctor"])
        #expect(doctor.output == "nothing found\n")
        let list = try await bare.expect(0, ["shard", "list"])
        #expect(list.output.split(separator: "\n").count == 2)
        await bare.stop()
    }

    @Test func `two init commands at the same time make one map`() async throws {
        let bare = try await BareCluster.make(shards: 2)

        let codes = try await withThrowingTaskGroup(of: Int32.self) { group in
            for _ in 1...3 {
                group.addTask {
                    try await bare.run(["init"] + bare.named + bare.migrations).status
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }

        // Each was first, came second and found the map, or is told to run again.
        #expect(codes.allSatisfy { $0 == 0 || $0 == 73 }, "\(codes)")
        #expect(codes.contains(0))
        try await bare.expect(0, ["migrate"] + bare.migrations)
        try await bare.expect(0, ["doctor"])
        await bare.stop()
    }

    @Test func `a dry run changes nothing`() async throws {
        let bare = try await BareCluster.make(shards: 1)

        try await bare.expect(0, ["init", "--dry-run"] + bare.named + bare.migrations)
        try await bare.expect(73, ["status"])
        try await bare.expect(0, ["init"] + bare.named + bare.migrations)
        let planned = try await bare.expect(
            0,
            ["migrate", "--dry-run", "--json"] + bare.migrations
        )
        let ran = try await bare.expect(0, ["migrate", "--json"] + bare.migrations)

        let plan = try JSONReader.parse(planned.output)["shards"]?[0]?["pending"]?.array
        let done = try JSONReader.parse(ran.output)["shards"]?[0]?["ran"]?.array
        #expect(plan?.isEmpty == false)
        #expect(plan?.map(\.string) == done?.map(\.string))
        await bare.stop()
    }

    @Test func `a shard that joins takes part without buckets`() async throws {
        let bare = try await BareCluster.make(shards: 2)
        try await bare.expect(0, ["init"] + bare.named.prefix(2) + bare.migrations)

        try await bare.expect(0, ["init"] + bare.named + bare.migrations)

        let map = try JSONReader.parse(try await bare.expect(0, ["map", "show", "--json"]).output)
        #expect(map["generation"]?.int == 2)
        #expect(map["shards"]?.array?.map { $0["buckets"]?.int } == [1_024, 0])
        try await bare.expect(0, ["migrate"] + bare.migrations)
        try await bare.expect(0, ["doctor"])
        await bare.stop()
    }

    @Test func `a lost etcd is rebuilt from the owner rows`() async throws {
        let bare = try await BareCluster.make(shards: 2)
        try await bare.expect(0, ["init"] + bare.named + bare.migrations)
        let before = try await bare.expect(0, ["map", "show", "--json"])
        let deleted = try await bare.etcd.etcdctl(
            ["--user", "root:etcd-secret", "del", "/tessera/map"]
        )
        #expect(deleted.output == "1\n")

        try await bare.expect(73, ["init"] + bare.named.prefix(2) + bare.migrations)
        try await bare.expect(0, ["init"] + bare.named + bare.migrations)

        let after = try await bare.expect(0, ["map", "show", "--json"])
        let buckets = try [before, after].map { result in
            try JSONReader.parse(result.output)["buckets"]?.array?.map { $0["shard"]?.string }
        }
        #expect(buckets[0] == buckets[1])
        try await bare.expect(0, ["doctor"])
        await bare.stop()
    }

    @Test func `each kind of failure has its exit status and one clear line`() async throws {
        let bare = try await BareCluster.make(shards: 2)
        try await bare.expect(0, ["init"] + bare.named + bare.migrations)
        try await bare.expect(0, ["migrate"] + bare.migrations)
        let edited = try bare.copyOfMigrations(editing: "Jobs")
        let other = ["--shard", "s1=127.0.0.1:1", "--shard", bare.named[3]]

        let cases: [(Int32, [String], String)] = [
            (64, ["frobnicate"], ""),
            (64, ["init"] + bare.migrations, "name the shards"),
            (64, ["init", "--shard", "S1=nowhere"] + bare.migrations, "not of the form"),
            (64, ["migrate", "--shard", "s9"] + bare.migrations, "no shard 's9'"),
            (65, ["migrate", "--migrations", "/nowhere"], "cannot read the folder"),
            (65, ["migrate", "--migrations", edited], "has changed since it ran"),
            (69, ["init"] + other + bare.migrations, "does not answer"),
            (77, ["status", "--etcd-password-file", bare.wrongPassword], "denies access"),
            (77, ["status", "--mover-password-file", bare.wrongPassword], "authentication failed"),
        ]
        for (code, arguments, message) in cases {
            let result = try await bare.expect(code, arguments)
            #expect(result.errors.contains(message), "\(arguments): \(result.errors)")
        }

        await bare.servers[1].process.kill()
        let status = try await bare.expect(1, ["status"])
        #expect(status.output.contains("down"))
        let migrate = try await bare.expect(69, ["migrate"] + bare.migrations)
        #expect(migrate.output.contains("s1: up to date\ns2: skipped"))
        await bare.etcd.process.kill()
        let blind = try await bare.expect(69, ["status", "--json"])
        #expect(try JSONReader.parse(blind.errors)["kind"]?.string == "unavailable")
        await bare.stop()
    }
}
