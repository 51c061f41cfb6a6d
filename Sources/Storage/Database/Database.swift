package import EventLoops
package import Postgres
package import Sharding

/// All shards, as one loop sees them: every statement goes to the shard that owns the key's bucket.
///
/// Each write transaction begins with the fence for its buckets, in the same round trip, so that a shard which no
/// longer owns a bucket refuses it; the refusal names the next owner, and the write is tried there, for at most
/// ``DatabaseSettings/refusalDeadline``. A shard that is down fails its own keys with
/// ``DatabaseError/unavailable`` and no others. Every method is called on the database's loop.
package final class Database: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    package let loop: EventLoop
    package let settings: DatabaseSettings

    private var routes: RouteTable
    private var pools: [ShardID: PostgresPool] = [:]
    private var open: [Region: OpenBuckets] = [:]
    private var refused = 0
    private var isClosed = false

    package private(set) var statistics = Statistics()

    /// Counters of one loop since its start.
    package struct Statistics: Sendable {
        package var refusals = 0
        package var mapsAdopted = 0
    }

    package init(loop: EventLoop, map: ShardMap, settings: DatabaseSettings) {
        self.loop = loop
        self.settings = settings
        routes = RouteTable(map: map)
    }

    // MARK: The map

    package var map: ShardMap { routes.map }

    /// In order of their names.
    package var shards: [ShardID] { routes.map.shards.map(\.id) }

    package func shard(of bucket: BucketID) -> ShardID { routes[bucket].shard }

    /// The bucket of a new user of `region`, from a random key of their own; nil where none is open.
    package func bucket(
        forNewUser key: some Sequence<UInt8>,
        in region: Region = .local
    ) -> BucketID? {
        if open[region] == nil { open[region] = routes.map.openBuckets(in: region) }
        return open[region]?.bucket(forNewUser: key)
    }

    /// Takes a newer map. Pools of shards that are gone, or have moved, close after their last statement.
    package func adopt(_ map: ShardMap) {
        loop.assertOnLoop()
        let before = routes.map
        guard routes.adopt(map) else { return }
        statistics.mapsAdopted += 1
        open = [:]
        for old in before.shards where map.shard(old.id) != old {
            guard map.shard(old.id).map({ $0.sameAddress(as: old) }) != true else { continue }
            guard let pool = pools.removeValue(forKey: old.id) else { continue }
            loop.spawn { await pool.retire() }
        }
    }

    // MARK: Reading

    /// Runs one statement that changes nothing, on the shard of `key`.
    package func rows<T: RowDecodable>(
        _ sql: SQL,
        on key: some Routed
    ) async throws(DatabaseError) -> [T] {
        try await read(sql, on: key).decode()
    }

    @_disfavoredOverload
    package func rows<ID: RoutedID>(
        _ sql: SQL,
        on key: some Routed
    ) async throws(DatabaseError) -> [ID] {
        try await read(sql, on: key).decode()
    }

    /// The first row, if there is one.
    package func row<T: RowDecodable>(
        _ sql: SQL,
        on key: some Routed
    ) async throws(DatabaseError) -> T? {
        try await read(sql, on: key).first()
    }

    @_disfavoredOverload
    package func row<ID: RoutedID>(
        _ sql: SQL,
        on key: some Routed
    ) async throws(DatabaseError) -> ID? {
        try await read(sql, on: key).first()
    }

    /// As ``rows(_:on:)``, for callers that read the columns themselves.
    package func read(_ sql: SQL, on key: some Routed) async throws(DatabaseError) -> Rows {
        try await pool(of: routes[key.bucket].shard).read(sql)
    }

    // MARK: Writing

    /// Runs the statements in one fenced transaction, in one round trip; their answers come in order.
    ///
    /// They are sent again when the fence refused them, which means that none of them had an effect.
    @discardableResult
    package func write(
        on key: some Routed,
        _ statements: [SQL]
    ) async throws(DatabaseError) -> [Rows] {
        try await write(on: [key.bucket], statements)
    }

    /// The same for rows of several buckets, all of which must lie on one shard.
    ///
    /// When they do not, any more, it throws ``DatabaseError/fenced(bucket:hint:)`` naming one that lies
    /// elsewhere; the caller groups its keys anew.
    @discardableResult
    package func write(
        on buckets: [BucketID],
        _ statements: [SQL]
    ) async throws(DatabaseError) -> [Rows] {
        precondition(!buckets.isEmpty, "a write names its buckets")
        return try await retryingRefusals(of: buckets) { (pool, fence) throws(DatabaseError) in
            try await Array(pool.write([fence] + statements).dropFirst())
        }
    }

    /// Runs `body` in one fenced transaction that can look at results before it goes on.
    ///
    /// The fence travels with the first statement. `body` runs again from its start when it is refused, so it keeps
    /// no state outside; it must let ``DatabaseError/fenced(bucket:hint:)`` through.
    package func transaction<T: Sendable>(
        on key: some Routed,
        _ body: @Sendable (Transaction) async throws -> T
    ) async throws -> T {
        try await transaction(on: [key.bucket], body)
    }

    package func transaction<T: Sendable>(
        on buckets: [BucketID],
        _ body: @Sendable (Transaction) async throws -> T
    ) async throws -> T {
        precondition(!buckets.isEmpty, "a transaction names its buckets")
        let outcome: Result<T, any Error>
        outcome = try await retryingRefusals(of: buckets) { (pool, fence) throws(DatabaseError) in
            do {
                return .success(
                    try await pool.transaction { inner in
                        try await body(Transaction(inner, fence: fence))
                    }
                )
            } catch DatabaseError.fenced(let bucket, let hint) {
                throw .fenced(bucket: bucket, hint: hint)
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    // MARK: Many keys

    /// The keys, grouped by the shard that owns them; groups by name of their shard, keys in their order.
    package func grouped<K: Routed>(_ keys: [K]) -> [(shard: ShardID, keys: [K])] {
        var groups: [ShardID: [K]] = [:]
        for key in keys { groups[routes[key.bucket].shard, default: []].append(key) }
        return groups.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Asks each shard for its part of the keys, one query per shard, all at once.
    ///
    /// Throws when any shard does not answer; ``gatherAvailable(_:_:)`` goes on without it. The rows come
    /// in no particular order.
    package func gather<K: Routed, T: RowDecodable>(
        _ keys: [K],
        _ sql: ([K]) -> SQL
    ) async throws(DatabaseError) -> [T] {
        let answers: [ShardAnswer<T>] = await gatherByShard(keys, sql)
        var all: [T] = []
        for answer in answers { all += try answer.result.get() }
        return all
    }

    /// As ``gather(_:_:)``, but without the rows of shards that did not answer, which are named.
    package func gatherAvailable<K: Routed, T: RowDecodable>(
        _ keys: [K],
        _ sql: ([K]) -> SQL
    ) async -> (rows: [T], missing: [ShardID]) {
        let answers: [ShardAnswer<T>] = await gatherByShard(keys, sql)
        var all: [T] = []
        var missing: [ShardID] = []
        for answer in answers {
            switch answer.result {
            case .success(let rows): all += rows
            case .failure: missing.append(answer.shard)
            }
        }
        return (all, missing)
    }

    private func gatherByShard<K: Routed, T: RowDecodable>(
        _ keys: [K],
        _ sql: ([K]) -> SQL
    ) async -> [ShardAnswer<T>] {
        guard !keys.isEmpty else { return [] }
        return await ask(grouped(keys).map { ($0.shard, sql($0.keys)) })
    }

    /// Asks every shard; throws when one does not answer.
    package func everyShard<T: RowDecodable>(
        _ sql: SQL
    ) async throws(DatabaseError) -> [(ShardID, [T])] {
        let answers: [ShardAnswer<T>] = await eachShard(sql)
        var all: [(ShardID, [T])] = []
        for answer in answers { all.append((answer.shard, try answer.result.get())) }
        return all
    }

    /// Asks every shard, and gives each one's answer or failure.
    package func eachShard<T: RowDecodable>(_ sql: SQL) async -> [ShardAnswer<T>] {
        await ask(shards.map { ($0, sql) })
    }

    private func ask<T: RowDecodable>(_ questions: [(ShardID, SQL)]) async -> [ShardAnswer<T>] {
        if questions.count == 1 {
            return [await ask(questions[0].0, questions[0].1)]
        }
        return await withTaskGroup(of: (Int, ShardAnswer<T>).self) { group in
            for (index, question) in questions.enumerated() {
                group.addTask { (index, await self.ask(question.0, question.1)) }
            }
            var answers = [ShardAnswer<T>?](repeating: nil, count: questions.count)
            for await (index, answer) in group { answers[index] = answer }
            return answers.compactMap { $0 }
        }
    }

    private func ask<T: RowDecodable>(_ shard: ShardID, _ sql: SQL) async -> ShardAnswer<T> {
        do throws(DatabaseError) {
            return ShardAnswer(shard: shard, result: .success(try await rows(sql, onShard: shard)))
        } catch {
            return ShardAnswer(shard: shard, result: .failure(error))
        }
    }

    // MARK: One shard, for workers

    /// Runs one statement that changes nothing, on a shard by name.
    package func rows<T: RowDecodable>(
        _ sql: SQL,
        onShard shard: ShardID
    ) async throws(DatabaseError) -> [T] {
        try await pool(of: shard).read(sql).decode()
    }

    /// Runs the statements in one transaction on a shard by name, without a fence.
    ///
    /// Only for rows that belong to no bucket, and for leases whose statement itself joins
    /// `control.bucket_owner` and whose completion is fenced: anything else is a ``write(on:_:)``.
    @discardableResult
    package func write(
        onShard shard: ShardID,
        _ statements: [SQL]
    ) async throws(DatabaseError) -> [Rows] {
        try await pool(of: shard).write(statements)
    }

    /// The pool of this loop for a shard, for COPY, LISTEN and administration.
    package func pool(of shard: ShardID) throws(DatabaseError) -> PostgresPool {
        loop.assertOnLoop()
        if let pool = pools[shard] { return pool }
        guard !isClosed, let record = routes.map.shard(shard) else { throw .unavailable }
        let pool = PostgresPool(loop: loop, settings: settings.pool(for: record))
        pools[shard] = pool
        return pool
    }

    /// Closes every connection; what is called later fails as unavailable.
    package func close() async {
        loop.assertOnLoop()
        isClosed = true
        let closing = pools.values.map { $0 }
        pools = [:]
        for pool in closing { await pool.close() }
    }

    // MARK: Refusals

    private func retryingRefusals<T>(
        of buckets: [BucketID],
        _ attempt: (PostgresPool, _ fence: SQL) async throws(DatabaseError) -> T
    ) async throws(DatabaseError) -> T {
        let deadline = loop.milliseconds + settings.refusalDeadline.wholeMilliseconds
        var held = false
        defer { if held { refused -= 1 } }
        while true {
            let shard = routes[buckets[0]].shard
            if let stray = buckets.first(where: { routes[$0].shard != shard }) {
                throw .fenced(bucket: stray.rawValue, hint: "next=\(routes[stray].shard)")
            }
            do throws(DatabaseError) {
                return try await attempt(pool(of: shard), fence(buckets))
            } catch {
                guard case .fenced(_, let hint) = error else { throw error }
                statistics.refusals += 1
                guard loop.milliseconds < deadline, held || refused < settings.refusedLimit else {
                    throw error
                }
                if !held {
                    held = true
                    refused += 1
                }
                let next = hint.flatMap(Refusal.init(detail:)).map { routes.learn($0, from: shard) }
                if next != .retry { try await pause() }
            }
        }
    }

    private func pause() async throws(DatabaseError) {
        do {
            try await loop.sleep(for: settings.refusalPause)
        } catch {
            throw .cancelled
        }
    }

    private func fence(_ buckets: [BucketID]) -> SQL {
        let epochs = buckets.map { routes[$0].epoch.rawValue }
        return "SELECT control.fence(\(buckets.map(\.rawValue)), \(epochs))"
    }
}

/// What one shard said when several were asked.
package struct ShardAnswer<T: Sendable>: Sendable {
    package let shard: ShardID
    package let result: Result<[T], DatabaseError>
}

/// One open, fenced transaction; touched on its loop only, inside the body it was given to.
package final class Transaction: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private let inner: PostgresTransaction
    private var fence: SQL?

    init(_ inner: PostgresTransaction, fence: SQL) {
        self.inner = inner
        self.fence = fence
    }

    /// Runs one statement.
    @discardableResult
    package func query(_ sql: SQL) async throws(DatabaseError) -> Rows {
        guard let fence = fence.take() else { return try await inner.query(sql) }
        return try await inner.query([fence, sql])[1]
    }

    /// Runs several statements in one round trip.
    @discardableResult
    package func query(_ statements: [SQL]) async throws(DatabaseError) -> [Rows] {
        guard let fence = fence.take() else { return try await inner.query(statements) }
        return try await Array(inner.query([fence] + statements).dropFirst())
    }

    package func rows<T: RowDecodable>(_ sql: SQL) async throws(DatabaseError) -> [T] {
        try await query(sql).decode()
    }

    @_disfavoredOverload
    package func rows<ID: RoutedID>(_ sql: SQL) async throws(DatabaseError) -> [ID] {
        try await query(sql).decode()
    }

    /// The first row, if there is one.
    package func row<T: RowDecodable>(_ sql: SQL) async throws(DatabaseError) -> T? {
        try await query(sql).first()
    }

    @_disfavoredOverload
    package func row<ID: RoutedID>(_ sql: SQL) async throws(DatabaseError) -> ID? {
        try await query(sql).first()
    }
}

extension ShardRecord {
    fileprivate func sameAddress(as other: ShardRecord) -> Bool {
        members == other.members && database == other.database
    }
}
