package import EventLoops
package import Postgres
package import Sharding

/// All shards, as one loop sees them: every statement goes to the shard that owns the key's bucket.
///
/// Each write transaction begins with the fence for its buckets, in the same round trip, so that a shard which no
/// longer owns a bucket refuses it. Each read is held against the shard's owner rows as they were after it, so that
/// a shard which gave a bucket away never answers for it. Both go at once to the next owner that they are told, and
/// wait while there is none, for at most ``DatabaseSettings/refusalDeadline``. A shard that is down fails its own
/// keys with ``DatabaseError/unavailable`` and no others. Every method is called on the database's loop.
package final class Database: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    package let loop: EventLoop
    package let settings: DatabaseSettings

    /// Routes that a request may follow at once, one after the other, before it waits in between.
    private static let routesAtOnce = 8

    var routes: RouteTable
    private var known: [ShardID: KnownShard] = [:]
    private var open: [Region: OpenBuckets] = [:]
    private lazy var held = HeldRequests(
        loop: loop,
        limit: settings.refusedLimit,
        longestPause: settings.refusalPause
    ) { [unowned self] in await look(at: $0) }
    private var isClosed = false

    package var statistics = Statistics()

    /// What was asked of each bucket since somebody took it; a plan balances by it.
    package var tally = BucketTally()

    /// Counters of one loop since its start.
    package struct Statistics: Sendable {
        /// Writes that a fence refused.
        package var refusals = 0
        /// Reads whose answer was thrown away, since the shard did not own the bucket.
        package var misreads = 0
        /// Requests that waited for a bucket between two owners.
        package var held = 0
        package var mapsAdopted = 0
    }

    /// Requests that wait for a bucket between two owners now.
    package var heldCount: Int { held.count }

    package init(loop: EventLoop, map: ShardMap, settings: DatabaseSettings) {
        self.loop = loop
        self.settings = settings
        routes = RouteTable(map: map)
    }

    // MARK: The map

    package var map: ShardMap { routes.map }

    /// In order of their names: those of the map, and those that other shards have told of.
    package var shards: [ShardID] { routes.shards.map(\.id) }

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
        let before = routes.shards
        guard routes.adopt(map) else { return }
        statistics.mapsAdopted += 1
        open = [:]
        for old in before {
            if routes.record(of: old.id)?.sameAddress(as: old) == true { continue }
            guard let gone = known.removeValue(forKey: old.id) else { continue }
            loop.spawn { await gone.pool.retire() }
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
    ///
    /// The statement sees rows of the key's bucket only, and may run again elsewhere.
    package func read(_ sql: SQL, on key: some Routed) async throws(DatabaseError) -> Rows {
        let bucket = key.bucket
        tally.noteRead(bucket)
        let route = routes[bucket]
        let shard = try shard(route.shard)
        let (rows, version) = try await shard.pool.checkedRead(sql)
        if let owners = shard.owners, owners.version == version,
            owners.isReadable(bucket, at: route.epoch)
        {
            return rows
        }
        return try await confirmed(rows, version, from: shard, sql, bucket, route)
    }

    /// The rows if the shard owned the bucket when they were read, and what the owner says if it did not.
    private func confirmed(
        _ first: Rows,
        _ version: Int64,
        from shard: KnownShard,
        _ sql: SQL,
        _ bucket: BucketID,
        _ route: ShardMap.Entry
    ) async throws(DatabaseError) -> Rows {
        var (rows, version, shard, route) = (first, version, shard, route)
        var patience = Patience(self)
        while true {
            let owners = try await shard.owners(seen: version)
            if owners.isReadable(bucket, at: route.epoch) { return rows }
            statistics.misreads += 1
            await learnNext(of: bucket, owners[bucket], from: shard)
            try await patience.wait(for: bucket, .reading, after: route, owners[bucket])
            route = routes[bucket]
            shard = try self.shard(route.shard)
            (rows, version) = try await shard.pool.checkedRead(sql)
        }
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
    /// elsewhere; the caller groups its keys anew. With `holds` false it does so at once for a bucket that is
    /// between two owners, too, and does not keep the others waiting for it.
    @discardableResult
    package func write(
        on buckets: [BucketID],
        holds: Bool = true,
        _ statements: [SQL]
    ) async throws(DatabaseError) -> [Rows] {
        precondition(!buckets.isEmpty, "a write names its buckets")
        return try await retryingRefusals(of: buckets, holds: holds) {
            (pool, fence) throws(DatabaseError) in
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
        outcome = try await retryingRefusals(of: buckets, holds: true) {
            (pool, fence) throws(DatabaseError) in
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

    // MARK: One shard, for workers

    /// Learns where `shard` is from another that names it as a next owner, if the map does not say.
    package func meet(_ shard: ShardID, through other: ShardID) async {
        guard routes.record(of: shard) == nil, let other = try? self.shard(other) else {
            // A shard that cannot be reached tells nothing; then the next statement fails.
            return
        }
        await learnRecord(of: shard, from: other)
    }

    /// Runs one statement that changes nothing, on a shard by name.
    ///
    /// It sees all that lies there: rows that have moved away and are not deleted yet, and rows that have been
    /// copied for a move to come. A statement for which that matters joins `control.bucket_owner`.
    package func rows<T: RowDecodable>(
        _ sql: SQL,
        onShard id: ShardID
    ) async throws(DatabaseError) -> [T] {
        let shard = try shard(id)
        let (rows, version) = try await shard.pool.checkedRead(sql)
        if shard.owners?.version != version {
            // Whoever asks a shard by name learns what it owns, although etcd may be down: routes to it are taught.
            _ = try await shard.owners(seen: version)
        }
        return try rows.decode()
    }

    /// The owner rows of a shard as they were when it was read last, or later; nil before.
    package func owners(of shard: ShardID) -> OwnerTable? { known[shard]?.owners }

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
        try self.shard(shard).pool
    }

    func shard(_ id: ShardID) throws(DatabaseError) -> KnownShard {
        loop.assertOnLoop()
        if let shard = known[id] { return shard }
        guard !isClosed, let record = routes.record(of: id) else { throw .unavailable }
        var poolSettings = settings.pool(for: record, of: routes.map.cluster)
        poolSettings.readCheck = OwnerTable.check
        let shard = KnownShard(id: id, pool: PostgresPool(loop: loop, settings: poolSettings)) {
            [unowned self] in routes.learn($0, from: id)
        }
        known[id] = shard
        return shard
    }

    /// Closes every connection; what is called later fails as unavailable.
    package func close() async {
        loop.assertOnLoop()
        isClosed = true
        held.close()
        let closing = known.values.map(\.pool)
        known = [:]
        for pool in closing { await pool.close() }
    }

    // MARK: Refusals

    private func retryingRefusals<T>(
        of buckets: [BucketID],
        holds: Bool,
        _ attempt: (PostgresPool, _ fence: SQL) async throws(DatabaseError) -> T
    ) async throws(DatabaseError) -> T {
        var patience = Patience(self)
        for bucket in buckets { tally.noteWrite(bucket) }
        while true {
            let sent = buckets.map { routes[$0] }
            if let stray = sent.firstIndex(where: { $0.shard != sent[0].shard }) {
                throw .fenced(bucket: buckets[stray].rawValue, hint: "next=\(sent[stray].shard)")
            }
            let shard = try shard(sent[0].shard)
            do throws(DatabaseError) {
                return try await attempt(shard.pool, fence(buckets, sent))
            } catch {
                guard case .fenced(_, let hint) = error else { throw error }
                statistics.refusals += 1
                guard let refusal = hint.flatMap(Refusal.init(detail:)),
                    let index = buckets.firstIndex(of: refusal.bucket)
                else { throw error }
                await learn(refusal, from: shard)
                guard holds || routes[refusal.bucket] != sent[index] else { throw error }
                try await patience.wait(
                    for: refusal.bucket,
                    .writing,
                    after: sent[index],
                    orThrow: error
                )
            }
        }
    }

    private func fence(_ buckets: [BucketID], _ routes: [ShardMap.Entry]) -> SQL {
        "SELECT control.fence(\(buckets.map(\.rawValue)), \(routes.map(\.epoch.rawValue)))"
    }

    /// How long one request looks for the owner of its bucket.
    struct Patience {
        private let database: Database
        private let deadline: UInt64
        private var routesTaken = 0

        init(_ database: Database) {
            self.database = database
            deadline =
                database.loop.milliseconds + database.settings.refusalDeadline.wholeMilliseconds
        }

        /// Returns at once when the bucket has a newer route than `route`, else when it has an owner again; throws
        /// when that takes too long, or when too many requests wait already.
        mutating func wait(
            for bucket: BucketID,
            _ use: HeldRequests.Use,
            after route: ShardMap.Entry,
            orThrow error: DatabaseError
        ) async throws(DatabaseError) {
            if database.routes[bucket] != route, routesTaken < Database.routesAtOnce {
                routesTaken += 1
                return
            }
            database.statistics.held += 1
            guard await database.held.wait(for: bucket, use, until: deadline) else { throw error }
        }

        mutating func wait(
            for bucket: BucketID,
            _ use: HeldRequests.Use,
            after route: ShardMap.Entry,
            _ owner: OwnerTable.Owner?
        ) async throws(DatabaseError) {
            let hint = owner.map { Refusal(bucket, $0).detail }
            try await wait(
                for: bucket,
                use,
                after: route,
                orThrow: .fenced(bucket: bucket.rawValue, hint: hint)
            )
        }
    }

    /// Asks for the bucket where it is believed to be, and follows a route that this teaches.
    private func look(at bucket: BucketID) async -> OwnerState? {
        for _ in 0..<Self.routesAtOnce {
            let route = routes[bucket]
            do throws(DatabaseError) {
                let shard = try shard(route.shard)
                let rows = try await shard.pool.read(OwnerTable.query(of: bucket))
                guard let owner: OwnerTable.Owner = try rows.first() else { return nil }
                await learn(Refusal(bucket, owner), from: shard)
                if routes[bucket].shard == route.shard { return owner.state }
            } catch {
                // The shard does not answer now: whoever waits goes on waiting until its deadline.
                return nil
            }
        }
        return nil
    }

    private func learn(_ refusal: Refusal, from shard: KnownShard) async {
        await learnRecord(of: refusal.next, from: shard)
        routes.learn(refusal, from: shard.id)
    }

    /// What the owner rows said was learned when they were loaded, unless they named a shard that is new here.
    func learnNext(
        of bucket: BucketID,
        _ owner: OwnerTable.Owner?,
        from shard: KnownShard
    ) async {
        guard let owner, let next = owner.next, routes.record(of: next) == nil else { return }
        await learn(Refusal(bucket, owner), from: shard)
    }

    /// A shard that the map does not have yet: whoever names it knows its address.
    private func learnRecord(of next: ShardID?, from shard: KnownShard) async {
        guard let next, routes.record(of: next) == nil else { return }
        do {
            let rows = try await shard.pool.read(
                "SELECT record FROM control.shard_record WHERE id = \(next.name)"
            )
            guard let line: String = try rows.first() else { return }
            routes.learn(try ShardRecord(line: line))
        } catch {
            // Then it stays unknown until the map tells of it, and the request waits.
        }
    }
}

extension ShardRecord {
    fileprivate func sameAddress(as other: ShardRecord) -> Bool {
        members == other.members && database == other.database
    }
}
