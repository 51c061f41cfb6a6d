internal import Sharding

/// Which shards did not answer lately, so that effects for them do not take the places of others.
///
/// A pure value. While a shard is out, its effects go back to the outbox unrun; when its pause is over they
/// run again, and the first answer closes the matter.
struct Breaker: Sendable, Equatable {
    static let firstPause = Duration.milliseconds(100)
    static let longestPause = Duration.seconds(2)

    private struct Outage: Sendable, Equatable {
        var failures: Int
        var until: Timestamp
    }

    private var outages: [ShardID: Outage] = [:]

    func isOut(_ shard: ShardID, at now: Timestamp) -> Bool {
        guard let outage = outages[shard] else { return false }
        return now < outage.until
    }

    mutating func failed(_ shard: ShardID, at now: Timestamp) {
        // Failures of effects that had begun before the outage was seen say nothing new.
        guard !isOut(shard, at: now) else { return }
        let failures = (outages[shard]?.failures ?? 0) + 1
        let pause = min(Self.firstPause * (1 << min(failures - 1, 10)), Self.longestPause)
        outages[shard] = Outage(failures: failures, until: now + pause)
    }

    mutating func answered(_ shard: ShardID) {
        outages[shard] = nil
    }
}
