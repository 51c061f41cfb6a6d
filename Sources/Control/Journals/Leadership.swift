internal import Coordination
package import Etcd
internal import EventLoops
internal import Sharding

/// The right to move buckets, which one coordinator at a time holds through a lease in etcd.
///
/// Holding it decides who works, not what is right: whatever a deposed leader still does to a shard is
/// refused there by compare-and-set, and each of its writes to etcd by comparing the leader's key.
package final class Leadership: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    private let etcd: EtcdClient
    private let name: String
    private let report: (String) -> Void
    private let events: Mailbox<Election.Event>
    private var election = Election()
    private var leading: Task<Void, Never>?

    /// `report` hears of trouble with etcd, for the log.
    package init(etcd: EtcdClient, name: String, report: @escaping (String) -> Void) {
        self.etcd = etcd
        self.name = name
        self.report = report
        events = Mailbox(loop: etcd.loop)
    }

    /// Stands by until no other coordinator leads, then runs `lead`, which is cancelled when the lease is lost;
    /// again and again, until ``stop()``.
    package func hold(_ lead: @escaping @Sendable (LeaderTerm) async -> Void) async {
        events.post(.start)
        await withDiscardingTaskGroup { group in
            while let event = await events.next() {
                for effect in election.handle(event) {
                    switch effect {
                    case .lead(let term): begin(term, lead)
                    case .stepDown: leading?.cancel()
                    case .revoke(let lease):
                        // Without an answer the lease ends by itself.
                        try? await etcd.revoke(EtcdLease(id: lease))
                    default: group.addTask { await self.carryOut(effect) }
                    }
                }
                if event == .stop { break }
            }
            group.cancelAll()
        }
        leading?.cancel()
        await leading?.value
    }

    package func stop() { events.post(.stop) }

    /// A write was refused since somebody else leads.
    package func refused() { events.post(.refusedAsLeader) }

    private func begin(
        _ term: Election.Term,
        _ lead: @escaping @Sendable (LeaderTerm) async -> Void
    ) {
        guard case .leading(let lease, _) = election.state else { return }
        let previous = leading
        let began = LeaderTerm(revision: term.revision, lease: EtcdLease(id: lease))
        leading = etcd.loop.spawnTask {
            // What the last term left running ends before this one begins.
            await previous?.value
            await lead(began)
        }
    }

    private func carryOut(_ effect: Election.Effect) async {
        do {
            switch effect {
            case .grantLease(let time):
                let lease = try await etcd.grantLease(seconds: time.components.seconds)
                events.post(.leaseGranted(lease.id))
            case .takeKey(let lease): events.post(try await takeKey(lease))
            case .renew(let lease):
                let lives = try await etcd.keepAlive(EtcdLease(id: lease))
                events.post(lives ? .leaseRenewed(lease) : .leaseLost(lease))
            case .wait(let time, let turn):
                try await etcd.loop.sleep(for: time)
                events.post(.waited(turn: turn))
            case .lead, .stepDown, .revoke: break
            }
        } catch {
            guard !Task.isCancelled else { return }
            report("\(error)")
            events.post(.unanswered)
        }
    }

    private func takeKey(_ lease: Int64) async throws -> Election.Event {
        if let entry = try await etcd.get(CoordinatorKeys.leader) {
            // An earlier try whose answer was lost may have been the one that succeeded.
            guard LeaderRecord(entry.value)?.lease == lease else { return .keyIsHeld }
            return .taken(lease: lease, Election.Term(revision: entry.revision))
        }
        let record = LeaderRecord(name: name, lease: lease, since: Timestamp.now.seconds)
        let revision = try await etcd.put(
            CoordinatorKeys.leader,
            record.bytes,
            expecting: .absent,
            lease: EtcdLease(id: lease)
        )
        return revision.map { .taken(lease: lease, Election.Term(revision: $0)) } ?? .keyIsHeld
    }
}

/// One coordinator's time as the leader.
package struct LeaderTerm: Sendable {
    /// Of the leader's key; unlike that of any other term.
    package let revision: Int64
    package let lease: EtcdLease

    package init(revision: Int64, lease: EtcdLease) {
        self.revision = revision
        self.lease = lease
    }

    /// What every write of this term expects, besides what it expects of its own key.
    package var expectation: (key: String, EtcdExpectation) {
        (CoordinatorKeys.leader, .revision(revision))
    }
}
