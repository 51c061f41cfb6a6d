import Administration
import Testing

struct MigrationPlanTests {
    private let first = MigrationFile(module: "Jobs", number: 1, name: "m0001_a", sql: "SELECT 1")
    private let second = MigrationFile(module: "Jobs", number: 2, name: "m0002_b", sql: "SELECT 2")
    private let other = MigrationFile(module: "Posts", number: 1, name: "m0001_c", sql: "SELECT 3")

    @Test func `what has run is left out`() throws {
        let pending = try MigrationPlan.pending([first, second, other], recorded: [record(first)])

        #expect(pending == [second, other])
    }

    @Test func `an edited file is refused`() {
        let edited = MigrationFile(module: "Jobs", number: 1, name: "m0001_a", sql: "SELECT 9")

        #expect(throws: MigrationError.self) {
            try MigrationPlan.pending([edited], recorded: [record(first)])
        }
    }

    @Test func `a file numbered below one that ran is refused`() {
        #expect(throws: MigrationError.self) {
            try MigrationPlan.pending([first, second], recorded: [record(second)])
        }
    }

    @Test func `an older version beside a newer one finds nothing to do`() throws {
        let pending = try MigrationPlan.pending(
            [first],
            recorded: [record(first), record(second), record(other)]
        )

        #expect(pending.isEmpty)
    }

    private func record(_ file: MigrationFile) -> MigrationPlan.Record {
        .init(module: file.module, number: file.number, name: file.name, checksum: file.checksum)
    }
}
