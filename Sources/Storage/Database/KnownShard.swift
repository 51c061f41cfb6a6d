internal import Postgres
internal import Sharding

/// One shard as one loop knows it: its connections, and its owner rows as they were last read.
final class KnownShard: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    let id: ShardID
    let pool: PostgresPool

    /// What reads are held against; nil before the first.
    private(set) var owners: OwnerTable?

    private let teach: (OwnerTable) -> Void
    private var isLoading = false
    private var waiters: [UnsafeContinuation<Result<OwnerTable, DatabaseError>, Never>] = []

    /// `teach` hears of every table that was read.
    init(id: ShardID, pool: PostgresPool, teach: @escaping (OwnerTable) -> Void) {
        self.id = id
        self.pool = pool
        self.teach = teach
    }

    /// The owner rows of a moment after a read saw `version`; one load serves all who ask meanwhile.
    func owners(seen version: Int64) async throws(DatabaseError) -> OwnerTable {
        if let owners, owners.version == version { return owners }
        if isLoading {
            // It began before `version` was seen here, so it may be of an older moment; the next one is not.
            let earlier = await join()
            if case .success(let table) = earlier, table.version == version { return table }
            if isLoading { return try await join().get() }
        }
        return try await load().get()
    }

    private func join() async -> Result<OwnerTable, DatabaseError> {
        await withUnsafeContinuation { waiters.append($0) }
    }

    private func load() async -> Result<OwnerTable, DatabaseError> {
        isLoading = true
        let result = await read()
        isLoading = false
        if case .success(let table) = result {
            owners = table
            teach(table)
        }
        let waiting = waiters
        waiters = []
        for waiter in waiting { waiter.resume(returning: result) }
        return result
    }

    private func read() async -> Result<OwnerTable, DatabaseError> {
        do throws(DatabaseError) {
            guard let table: OwnerTable = try await pool.read(OwnerTable.query).first() else {
                return .failure(.decoding("the owner rows have no version"))
            }
            return .success(table)
        } catch {
            return .failure(error)
        }
    }
}
