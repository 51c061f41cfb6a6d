package import Etcd
import EventLoops
import Sharding

/// The right to move buckets, which one coordinator at a time holds through a lease in etcd.
///
/// Holding it decides who works, not what is right: whatever a deposed leader still does to a shard is
/// refused there by compare-and-set, and each of its writes to etcd by comparing the leader's key.
package final class Leadership: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// How often a stand-by looks whether somebody leads.
    private static let retryPause = Duration.milliseconds(500)

    private let etcd: EtcdClient
    private let name: String
    private let leaseSeconds: Int
    private let report: (String) -> Void

    /// `report` hears of trouble with etcd, for the log.
    package init(
        etcd: EtcdClient,
        name: String,
        leaseSeconds: Int,
        report: @escaping (String) -> Void
    ) {
        self.etcd = etcd
        self.name = name
        self.leaseSeconds = leaseSeconds
        self.report = report
    }

    /// Stands by until no other coordinator leads, then runs `lead`, which is cancelled when the lease is lost;
    /// again and again, until this task is cancelled.
    package func hold(_ lead: @escaping @Sendable (LeaderTerm) async -> Void) async {
        while !Task.isCancelled {
            do {
                if let term = try await tryToWin() {
                    await serve(term, lead)
                    await giveBack(term)
                }
            } catch {
                if Task.isCancelled { return }
                report("\(error)")
            }
            // Ends early only by cancellation, which the loop's condition sees.
            do { try await etcd.loop.sleep(for: Self.retryPause) } catch { return }
        }
    }

    private func tryToWin() async throws -> LeaderTerm? {
        guard try await etcd.get(CoordinatorKeys.leader) == nil else { return nil }
        let asked = EventLoop.nanoseconds
        let lease = try await etcd.grantLease(seconds: Int64(leaseSeconds))
        let record = LeaderRecord(name: name, since: Timestamp.now.seconds)
        let revision = try await etcd.put(
            CoordinatorKeys.leader,
            record.bytes,
            expecting: .absent,
            lease: lease
        )
        guard let revision else {
            try await etcd.revoke(lease)
            return nil
        }
        return LeaderTerm(loop: etcd.loop, lease: lease, revision: revision, renewedAt: asked)
    }

    private func serve(
        _ term: LeaderTerm,
        _ lead: @escaping @Sendable (LeaderTerm) async -> Void
    ) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await lead(term) }
            group.addTask { await self.renew(term) }
            await group.next()
            group.cancelAll()
        }
    }

    /// Returns when the lease is lost, or so old that it may be.
    private func renew(_ term: LeaderTerm) async {
        let pause = Duration.milliseconds(leaseSeconds * 1_000 / 4)
        while !Task.isCancelled && term.isHeld {
            // Ends early only by cancellation, which the loop's condition sees.
            do { try await etcd.loop.sleep(for: pause) } catch { return }
            let asked = EventLoop.nanoseconds
            do {
                guard try await etcd.keepAlive(term.lease) else {
                    term.end()
                    return report("the lease has ended")
                }
                term.renewed(at: asked)
            } catch {
                if Task.isCancelled { return }
                report("the lease was not renewed: \(error)")
            }
        }
        term.end()
    }

    private func giveBack(_ term: LeaderTerm) async {
        term.end()
        let etcd = self.etcd
        let lease = term.lease
        // A task of its own, since this one may be cancelled. Without an answer the lease ends by itself.
        let farewell = etcd.loop.spawnTask { try? await etcd.revoke(lease) }
        await farewell.value
    }
}

/// One coordinator's time as the leader.
package final class LeaderTerm: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    package let lease: EtcdLease

    /// Of the leader's key; unlike that of any other term.
    package let revision: Int64

    private let loop: EventLoop
    private var renewedAt: UInt64
    private var isOver = false

    init(loop: EventLoop, lease: EtcdLease, revision: Int64, renewedAt: UInt64) {
        self.loop = loop
        self.lease = lease
        self.revision = revision
        self.renewedAt = renewedAt
    }

    /// Whether the lease cannot have ended yet, counted from before the last renewal was asked for.
    package var isHeld: Bool {
        loop.assertOnLoop()
        let age = Double(EventLoop.nanoseconds - renewedAt) / 1e9
        return !isOver && age < Double(lease.seconds)
    }

    /// What every write of this term expects, besides what it expects of its own key.
    package var expectation: (key: String, EtcdExpectation) {
        (CoordinatorKeys.leader, .revision(revision))
    }

    func renewed(at time: UInt64) { renewedAt = time }

    package func end() { isOver = true }
}
