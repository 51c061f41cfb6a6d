internal import Coordination
internal import JSON
internal import Sharding

/// etcd as the coordinators use it: leases, the leader key, the journal, the map, and what operators want.
final class FakeEtcd {
    var isUp = true
    var revision: Int64 = 1
    private(set) var leases: [Int64: Int] = [:]
    private(set) var leader: (lease: Int64, term: Election.Term)?
    private(set) var journal: [MoveID: (entry: [UInt8], revision: Int64)] = [:]
    var map: ShardMap
    var wanted = Wanted()

    /// What operators ask for; the parts of the product's intent that concern moves.
    struct Wanted {
        /// Moves of buckets to a shard, one after the other.
        var steps: [(buckets: [BucketID], target: ShardID)] = []
        /// Plans are made, for these drained shards, pins and isolated buckets.
        var balances = false
        var drains: Set<ShardID> = []
        var pins: [BucketID: ShardID] = [:]
        var isolated: [BucketID: ShardID] = [:]
        var aborts: Set<MoveID> = []
        var rollbacks: Set<MoveID> = []
    }

    init(map: ShardMap) { self.map = map }

    func grant(now: Int, milliseconds: Int) -> Int64 {
        revision += 1
        leases[revision] = now + milliseconds
        return revision
    }

    /// Whether the lease lived to be renewed.
    func renew(_ lease: Int64, now: Int, milliseconds: Int) -> Bool {
        expire(now)
        guard leases[lease] != nil else { return false }
        leases[lease] = now + milliseconds
        return true
    }

    func revoke(_ lease: Int64) {
        leases[lease] = nil
        if leader?.lease == lease { leader = nil }
    }

    private func expire(_ now: Int) {
        for (lease, end) in leases where end <= now { revoke(lease) }
    }

    enum Taken { case mine(Election.Term), held, noLease }

    func take(_ lease: Int64, now: Int) -> Taken {
        expire(now)
        if let leader { return leader.lease == lease ? .mine(leader.term) : .held }
        guard leases[lease] != nil else { return .noLease }
        revision += 1
        let term = Election.Term(revision: revision)
        leader = (lease, term)
        return .mine(term)
    }

    enum Written { case written(Int64), stale(Int64), notLeader }

    /// The journal is written only by who has the leader key, and only over the entry that the writer knows of: its own
    /// request which was late must not undo a later one.
    func write(
        _ id: MoveID,
        _ entry: [UInt8],
        over expected: Int64,
        term: Election.Term,
        now: Int
    ) -> Written {
        expire(now)
        guard leader?.term == term else { return .notLeader }
        let present = journal[id]?.revision ?? 0
        guard present == expected else { return .stale(present) }
        revision += 1
        journal[id] = (entry, revision)
        return .written(revision)
    }
}
