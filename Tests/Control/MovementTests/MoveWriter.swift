import Administration
import Glibc
import TestSupport

/// Somebody who writes one bucket all the time, by the rules: with the fence, wherever the bucket is, and again until
/// it is acknowledged.
struct MoveWriter: Sendable {
    let world: MoveWorld
    let bucket: Int

    /// Its rows have it as their reader.
    let reader: Int

    /// What it was told is written.
    struct Log: Sendable {
        /// The author of each post that is there.
        var rows: [Int: Int] = [:]
        var writes = 0
        var refusals = 0
        var longestGap = Duration.zero
        var failures: [String] = []
    }

    /// Writes until `isOver`, then gives what it did.
    func write(until isOver: Mutexed<Bool>, every pause: Duration = .zero) async -> Log {
        await blocking { () -> Log in
            var log = Log()
            var hand = Hand(world: world, bucket: bucket)
            var random = SystemRandomNumberGenerator()
            var last = ContinuousClock.now
            while !isOver.value {
                let post = log.writes / 3 + 1
                let author = Int.random(in: 1...1_000_000, using: &random)
                let sql: String
                switch log.writes % 3 {
                case 0: sql = insert(post, author)
                case 1: sql = insert(post, author)
                default: sql = post % 4 == 0 ? delete(post) : insert(post, author)
                }
                while !hand.tryTo(sql, &log) { usleep(1_000) }
                log.rows[post] = log.writes % 3 == 2 && post % 4 == 0 ? nil : author
                log.writes += 1
                log.longestGap = max(log.longestGap, last.duration(to: .now))
                last = .now
                if pause > .zero { usleep(useconds_t(pause / .microseconds(1))) }
            }
            return log
        }
    }

    private func insert(_ post: Int, _ author: Int) -> String {
        """
        INSERT INTO feed.entry (bucket, reader, post_id, author)
        VALUES (\(bucket), \(reader), \(post), \(author))
        ON CONFLICT (bucket, reader, post_id) DO UPDATE SET author = excluded.author
        """
    }

    private func delete(_ post: Int) -> String {
        "DELETE FROM feed.entry WHERE bucket = \(bucket) AND reader = \(reader) AND post_id = \(post)"
    }

    /// What the shard that owns the bucket has of this writer.
    func rows(on shard: TestShard) async throws -> [Int: Int] {
        let text = try await shard.psql(
            "SELECT post_id, author FROM feed.entry WHERE bucket = \(bucket) AND reader = \(reader)"
        )
        var rows: [Int: Int] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: "|").compactMap { Int($0) }
            rows[parts[0]] = parts[1]
        }
        return rows
    }

    /// Where the writer believes the bucket is.
    private struct Hand {
        let world: MoveWorld
        let bucket: Int
        var shard: TestShard
        var epoch = 1
        var sessions: [String: AdminSession] = [:]

        init(world: MoveWorld, bucket: Int) {
            self.world = world
            self.bucket = bucket
            shard = world.source
        }

        mutating func tryTo(_ sql: String, _ log: inout Log) -> Bool {
            do {
                let session = try session(with: shard)
                do {
                    try session.run(
                        "BEGIN; SELECT control.fence('{\(bucket)}', '{\(epoch)}'); \(sql); COMMIT"
                    )
                    return true
                } catch {
                    try session.run("ROLLBACK")
                    throw error
                }
            } catch let error as AdminError {
                if error.sqlstate == "TF001" {
                    log.refusals += 1
                    lookAround()
                } else {
                    log.failures.append("\(error)")
                    sessions[shard.id] = nil
                }
            } catch {
                log.failures.append("\(error)")
            }
            return false
        }

        private mutating func session(with shard: TestShard) throws -> AdminSession {
            if let session = sessions[shard.id] { return session }
            let session = try world.session(shard)
            sessions[shard.id] = session
            return session
        }

        private mutating func lookAround() {
            for shard in [world.target, world.source] {
                do {
                    let epoch = try session(with: shard).value(
                        """
                        SELECT epoch FROM control.bucket_owner
                        WHERE bucket = \(bucket) AND state = 'own'
                        """
                    )
                    guard let epoch = epoch.flatMap({ Int($0) }) else { continue }
                    (self.shard, self.epoch) = (shard, epoch)
                    return
                } catch {
                    sessions[shard.id] = nil
                }
            }
        }
    }
}
