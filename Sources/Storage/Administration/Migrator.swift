import Glibc

/// Brings the schema of one shard up to date, as the role `migrate`.
///
/// One migrator at a time works on a shard (an advisory lock of the session, which ends with it). Each file
/// runs in a transaction together with its record. A statement that would wait for a lock gives up soon,
/// so that it does not queue ahead of the product's own transactions, and the file is tried again.
package struct Migrator {
    /// How long another migrator on the same shard is waited for.
    package static let turnTimeout = Duration.seconds(60)

    /// How long one statement may wait for a lock.
    package static let lockTimeoutMilliseconds = 2_000

    /// How often a file that met a lock is tried.
    package static let tries = 10

    private let session: AdminSession

    package init(session: AdminSession) {
        self.session = session
    }

    /// What is still to run, without running it.
    package func pending(_ files: [MigrationFile]) throws -> [MigrationFile] {
        try MigrationPlan.pending(files, recorded: try recorded())
    }

    /// Runs what is still to run, and gives what ran; `report` hears of each file before it runs.
    @discardableResult
    package func run(
        _ files: [MigrationFile],
        report: (MigrationFile) -> Void = { _ in }
    ) throws -> [MigrationFile] {
        try takeTurn()
        defer {
            // The lock also ends with the session.
            do { try session.run("SELECT pg_advisory_unlock(32343, 0)") } catch {}
        }
        // Read after the lock: another migrator may have run them meanwhile.
        let pending = try pending(files)
        for file in pending {
            report(file)
            try run(file)
        }
        try guardTables()
        return pending
    }

    private func takeTurn() throws {
        try session.run("SET lock_timeout = '\(Self.turnTimeout.components.seconds)s'")
        do {
            try session.run("SELECT pg_advisory_lock(32343, 0)")
        } catch {
            guard error.isLockTimeout else { throw error }
            throw MigrationError("another migration of this shard is running")
        }
    }

    private func run(_ file: MigrationFile) throws {
        try runRepeatedly(file.label) {
            try session.run(file.sql)
            try record(file)
        }
    }

    /// Puts the triggers of `control.guard_tables` on tables that lack them; changes nothing where all have
    /// them.
    private func guardTables() throws {
        guard try session.value("SELECT to_regproc('control.guard_tables')::text") != nil else {
            return
        }
        try runRepeatedly("the guards of the tables") {
            try session.run("SELECT control.guard_tables()")
        }
    }

    /// Runs `body` in a transaction, again for as long as it meets locks.
    private func runRepeatedly(_ label: String, _ body: () throws -> Void) throws {
        for attempt in 1...Self.tries {
            if try tryToRun(label, body) { return }
            usleep(useconds_t(200_000 * attempt))
        }
        throw MigrationError(
            "\(label): a table stayed locked by a long transaction; try again later"
        )
    }

    /// False when a lock was not to be had.
    private func tryToRun(_ label: String, _ body: () throws -> Void) throws -> Bool {
        do {
            try session.transaction {
                try session.run("SET LOCAL lock_timeout = \(Self.lockTimeoutMilliseconds)")
                try body()
            }
            return true
        } catch let error as AdminError {
            if error.isLockTimeout { return false }
            guard error.kind == .statement else { throw error }
            throw MigrationError("\(label): \(error)")
        }
    }

    private func record(_ file: MigrationFile) throws(AdminError) {
        try session.rows(
            """
            INSERT INTO control.migration (module, number, name, checksum)
            VALUES ($1, $2, $3, $4)
            """,
            [file.module, String(file.number), file.name, file.checksum]
        )
    }

    func recorded() throws(AdminError) -> [MigrationPlan.Record] {
        guard try session.value("SELECT to_regclass('control.migration')::text") != nil else {
            return []
        }
        let rows = try session.rows(
            "SELECT module, number, name, checksum FROM control.migration ORDER BY module, number"
        )
        return rows.map { row in
            MigrationPlan.Record(
                module: row[0] ?? "",
                number: Int(row[1] ?? "") ?? 0,
                name: row[2] ?? "",
                checksum: row[3] ?? ""
            )
        }
    }
}

extension AdminError {
    fileprivate var isLockTimeout: Bool { sqlstate == "55P03" }
}
