package import Postgres
package import Sharding

// Keys of several shards at once, and shards by name.
extension Database {
    /// The keys, grouped by the shard that owns them; groups by name of their shard, keys in their order.
    package func grouped<K: Routed>(_ keys: [K]) -> [(shard: ShardID, keys: [K])] {
        var groups: [ShardID: [K]] = [:]
        for key in keys { groups[routes[key.bucket].shard, default: []].append(key) }
        return groups.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Asks each shard for its part of the keys, one query per shard, all at once.
    ///
    /// Throws when any shard does not answer; ``gatherAvailable(_:_:)`` goes on without it. The rows come
    /// in no particular order. A query whose shard had given some of its keys away is asked again where they are.
    package func gather<K: Routed, T: RowDecodable>(
        _ keys: [K],
        _ sql: ([K]) -> SQL
    ) async throws(DatabaseError) -> [T] {
        var all: [T] = []
        for answer: ShardAnswer<T> in await gatherByShard(keys, sql) {
            all += try answer.result.get()
        }
        return all
    }

    /// As ``gather(_:_:)``, but without the rows of shards that did not answer, which are named.
    package func gatherAvailable<K: Routed, T: RowDecodable>(
        _ keys: [K],
        _ sql: ([K]) -> SQL
    ) async -> (rows: [T], missing: [ShardID]) {
        var all: [T] = []
        var missing: [ShardID] = []
        for answer: ShardAnswer<T> in await gatherByShard(keys, sql) {
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
        for key in keys { tally.noteRead(key.bucket) }
        var patience = Patience(self)
        var answers: [ShardAnswer<T>] = []
        var left = keys
        // Once, but for keys that have moved.
        while !left.isEmpty {
            let questions = grouped(left).map { Question($0.shard, $0.keys, self, sql) }
            let parts: [GatheredPart<T>] = await askAll(questions)
            left = []
            for (part, question) in zip(parts, questions) {
                guard let misread = part.misread else {
                    answers.append(part.answer)
                    continue
                }
                statistics.misreads += 1
                do throws(DatabaseError) {
                    try await patience.wait(
                        for: misread.bucket,
                        .reading,
                        after: misread.route,
                        misread.owner
                    )
                    left += question.keys
                } catch {
                    answers.append(ShardAnswer(shard: question.shard, result: .failure(error)))
                }
            }
        }
        return answers
    }

    /// What one shard is asked, and what was believed of its keys then.
    private struct Question<K: Routed>: Sendable {
        let shard: ShardID
        let keys: [K]
        let routes: [ShardMap.Entry]
        let sql: SQL

        init(_ shard: ShardID, _ keys: [K], _ database: Database, _ sql: ([K]) -> SQL) {
            self.shard = shard
            self.keys = keys
            routes = keys.map { database.routes[$0.bucket] }
            self.sql = sql(keys)
        }

        func firstMisread(in owners: OwnerTable) -> Misread? {
            for (key, route) in zip(keys, routes)
            where !owners.isReadable(key.bucket, at: route.epoch) {
                return Misread(bucket: key.bucket, route: route, owner: owners[key.bucket])
            }
            return nil
        }
    }

    /// A key whose bucket the shard did not own.
    private struct Misread: Sendable {
        let bucket: BucketID
        let route: ShardMap.Entry
        let owner: OwnerTable.Owner?
    }

    private struct GatheredPart<T: Sendable>: Sendable {
        let answer: ShardAnswer<T>
        var misread: Misread?
    }

    private func askAll<K: Routed, T: RowDecodable>(
        _ questions: [Question<K>]
    ) async -> [GatheredPart<T>] {
        if questions.count == 1 { return [await askOwned(questions[0])] }
        return await withTaskGroup(of: (Int, GatheredPart<T>).self) { group in
            for (index, question) in questions.enumerated() {
                group.addTask { (index, await self.askOwned(question)) }
            }
            var parts = [GatheredPart<T>?](repeating: nil, count: questions.count)
            for await (index, part) in group { parts[index] = part }
            return parts.compactMap { $0 }
        }
    }

    private func askOwned<K: Routed, T: RowDecodable>(
        _ question: Question<K>
    ) async -> GatheredPart<T> {
        do throws(DatabaseError) {
            let shard = try shard(question.shard)
            let (rows, version) = try await shard.pool.checkedRead(question.sql)
            let owners = try await shard.owners(seen: version)
            let misread = question.firstMisread(in: owners)
            if let misread { await learnNext(of: misread.bucket, misread.owner, from: shard) }
            return GatheredPart(
                answer: ShardAnswer(
                    shard: question.shard,
                    result: .success(misread == nil ? try rows.decode() : [])
                ),
                misread: misread
            )
        } catch {
            return GatheredPart(answer: ShardAnswer(shard: question.shard, result: .failure(error)))
        }
    }

    // MARK: Every shard

    /// Asks every shard; throws when one does not answer.
    ///
    /// The statement sees all that lies on a shard, as ``rows(_:onShard:)`` does. Where each row must come from its
    /// owner it joins `control.bucket_owner` with the states `own` and `fenced`; a bucket that is handed over between
    /// the looks at two shards may then come twice or, for the moment, from neither.
    package func everyShard<T: RowDecodable>(
        _ sql: SQL
    ) async throws(DatabaseError) -> [(ShardID, [T])] {
        let answers: [ShardAnswer<T>] = await eachShard(sql)
        var all: [(ShardID, [T])] = []
        for answer in answers { all.append((answer.shard, try answer.result.get())) }
        return all
    }

    /// How many rows a table with buckets has on all shards, as each shard's statistics have it.
    ///
    /// Buckets that have moved away and whose rows are still there are left out, as if all buckets had equally many.
    package func estimatedRows(of table: SQL) async throws(DatabaseError) -> Int {
        let answers: [(ShardID, [Int])] = try await everyShard(
            """
            SELECT (
                greatest(c.reltuples, 0)
                * coalesce(avg((o.state IN ('own', 'fenced'))::integer)::float8, 1)
            )::bigint
            FROM pg_catalog.pg_class AS c
            LEFT JOIN (
                control.bucket_owner AS o
                CROSS JOIN LATERAL (
                    SELECT FROM \(fragment: table) AS r WHERE r.bucket = o.bucket LIMIT 1
                ) AS r
            ) ON true
            WHERE c.oid = '\(fragment: table)'::regclass
            GROUP BY c.reltuples
            """
        )
        return answers.reduce(0) { $0 + ($1.1.first ?? 0) }
    }

    /// Asks every shard, and gives each one's answer or failure.
    package func eachShard<T: RowDecodable>(_ sql: SQL) async -> [ShardAnswer<T>] {
        let shards = self.shards
        return await withTaskGroup(of: (Int, ShardAnswer<T>).self) { group in
            for (index, shard) in shards.enumerated() {
                group.addTask { (index, await self.ask(shard, sql)) }
            }
            var answers = [ShardAnswer<T>?](repeating: nil, count: shards.count)
            for await (index, answer) in group { answers[index] = answer }
            return answers.compactMap { $0 }
        }
    }

    private func ask<T: RowDecodable>(_ shard: ShardID, _ sql: SQL) async -> ShardAnswer<T> {
        do throws(DatabaseError) {
            // Without the check: a shard whose schema is too old for it must still be able to say so.
            let rows = try await pool(of: shard).read(sql)
            return ShardAnswer(shard: shard, result: .success(try rows.decode()))
        } catch {
            return ShardAnswer(shard: shard, result: .failure(error))
        }
    }
}

/// What one shard said when several were asked.
package struct ShardAnswer<T: Sendable>: Sendable {
    package let shard: ShardID
    package let result: Result<[T], DatabaseError>
}
