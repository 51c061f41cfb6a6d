import Administration
import Sharding
import Testing

struct ShardFitnessTests {
    private let s5 = ShardID("s5")!

    @Test func `a bare server of the right kind may become a shard`() {
        #expect(objections(facts()).isEmpty)
    }

    /// Something that is missing, and the words that name it.
    struct Lack: Sendable {
        let words: String
        let change: @Sendable (inout ShardFacts) -> Void

        init(_ words: String, _ change: @escaping @Sendable (inout ShardFacts) -> Void) {
            self.words = words
            self.change = change
        }
    }

    static let lacks: [Lack] = [
        Lack("PostgreSQL 14.9") { $0.versionNumber = 140_009 },
        Lack("is a standby") { $0.isPrimary = false },
        Lack("not a superuser") { $0.isSuperuser = false },
        Lack("wal_level is replica") { $0.walLevel = "replica" },
        Lack("9 of max_replication_slots = 10") { $0.slots = .init(used: 9, limit: 10) },
        Lack("max_wal_senders") { $0.senders = .init(used: 0, limit: 2) },
        Lack("max_logical_replication_workers = 0") { $0.replicationWorkers = 0 },
        Lack("1.9 GB free, and 2.0 GB are wanted") { $0.freeDiskBytes = 1_900_000_000 },
        Lack("SQL_ASCII") { $0.encoding = "SQL_ASCII" },
        Lack("fsync is off") { $0.unsafeSettings = ["fsync"] },
        Lack("is shard s9 of some cluster") { $0.identity = "s9" },
        Lack("is shard s5 of another Tessera (cluster bbbbbbbb, this is aaaaaaaa)") {
            ($0.identity, $0.cluster) = ("s5", ClusterID(String(repeating: "b", count: 32)))
        },
        Lack("owns 12 buckets") { ($0.identity, $0.ownedBuckets) = ("s5", 12) },
        Lack("3 tables of somebody else") { $0.strangeTables = 3 },
    ]

    @Test(arguments: lacks)
    func `each thing that is missing is named`(lack: Lack) {
        var facts = facts()
        lack.change(&facts)

        let found = objections(facts)

        #expect(found.count == 1)
        #expect(found.first?.contains(lack.words) == true, "\(found)")
    }

    @Test func `an addition that stopped half-way is taken up`() {
        var facts = facts()
        facts.identity = "s5"

        #expect(objections(facts).isEmpty)
    }

    @Test func `a shard of the map must be that shard`() {
        var facts = facts()
        (facts.identity, facts.ownedBuckets) = ("s5", 12)
        let known = ShardFitness.objections(to: facts, as: s5, isNew: false, expectedBytes: 0)
        facts.identity = "s6"
        let other = ShardFitness.objections(to: facts, as: s5, isNew: false, expectedBytes: 0)

        #expect(known.isEmpty)
        #expect(other == ["its database says that it is shard s6"])
    }

    @Test func `a schema of another version is refused`() {
        let ours = MigrationFile(module: "Posts", number: 1, name: "m0001_posts", sql: "SELECT 1")
        func record(_ number: Int, _ checksum: String) -> MigrationPlan.Record {
            .init(module: "Posts", number: number, name: "m000\(number)_x", checksum: checksum)
        }

        let same = ShardFitness.schemaObjections([record(1, ours.checksum)], files: [ours])
        let edited = ShardFitness.schemaObjections([record(1, "other")], files: [ours])
        let newer = ShardFitness.schemaObjections(
            [record(1, ours.checksum), record(2, "later")],
            files: [ours]
        )

        #expect(same.isEmpty)
        #expect(edited.first?.contains("has changed since it ran") == true)
        #expect(newer.first?.contains("newer than this version's") == true)
    }

    private func objections(_ facts: ShardFacts) -> [String] {
        ShardFitness.objections(
            to: facts,
            as: s5,
            of: ClusterID(String(repeating: "a", count: 32)),
            isNew: true,
            expectedBytes: 1_000_000_000
        )
    }

    private func facts() -> ShardFacts {
        ShardFacts(
            versionNumber: 150_004,
            isSuperuser: true,
            isPrimary: true,
            walLevel: "logical",
            slots: .init(used: 0, limit: 10),
            senders: .init(used: 0, limit: 10),
            replicationWorkers: 4,
            encoding: "UTF8",
            unsafeSettings: [],
            freeDiskBytes: 5_000_000_000,
            identity: nil,
            ownedBuckets: 0,
            migrations: [],
            strangeTables: 0
        )
    }
}
