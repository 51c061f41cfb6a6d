internal import Database
internal import EventLoops
internal import Logging
internal import Postgres
internal import Sharding

/// The effects that one shard keeps, as one runner sees them.
///
/// The driver of ``ClaimPace`` and ``RetryPolicy``: asks them what to do, and does it.
final class ShardQueue: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Outcomes that one transaction settles.
    private static let settleBatch = 256
    /// How long a bucket that refused a write is left alone.
    private static let refusalPause = Duration.milliseconds(100)
    private static let measureInterval = Duration.seconds(5)

    private let shard: ShardID
    private let context: QueueContext
    private let bell: Bell
    private var pace: ClaimPace
    private var isStopped = false

    /// Claimed and not yet settled, by id, with the time until which the lease surely holds.
    private var leased: [Int64: Leased] = [:]
    private var verdicts: [Verdict] = []
    private var isSettling = false
    private var refusedUntil: [BucketID: Timestamp] = [:]

    private struct Leased {
        var effect: ClaimedEffect
        var until: Timestamp
    }

    init(shard: ShardID, context: QueueContext) {
        self.shard = shard
        self.context = context
        bell = Bell(loop: context.loop)
        pace = ClaimPace(context.settings.pace)
    }

    var unsettled: Int { leased.count }
    var isAtRest: Bool { isStopped && leased.isEmpty }

    func drain() {
        pace.apply(.draining)
        bell.ring()
    }

    func stir() {
        pace.apply(.stirred)
        bell.ring()
    }

    // MARK: Claiming

    func run() async {
        keepLeases()
        measure()
        while true {
            switch pace.next() {
            case .stop:
                isStopped = true
                return
            case .pause(let time): await bell.wait(atMost: time)
            case .waitForRoom: await bell.wait(atMost: context.settings.lease)
            case .claim(let limit): await claim(limit)
            }
        }
    }

    private func claim(_ limit: Int) async {
        do throws(DatabaseError) {
            let buckets = try await context.store.dueBuckets(on: shard).filter(isOurs)
            guard !buckets.isEmpty else { return pace.apply(.claimed(0)) }
            let until = Timestamp.now + context.settings.lease
            let effects = try await context.store.claim(
                buckets,
                limit: limit,
                lease: context.settings.lease,
                token: Int64.random(in: 1...Int64.max, using: &context.random)
            )
            pace.apply(.claimed(effects.count))
            for effect in effects {
                leased[effect.id] = Leased(effect: effect, until: until)
                context.loop.spawn { await self.perform(effect) }
            }
        } catch {
            note(error)
        }
    }

    private func isOurs(_ bucket: BucketID) -> Bool {
        guard context.database.shard(of: bucket) == shard else { return false }
        guard let until = refusedUntil[bucket] else { return true }
        return until < Timestamp.now
    }

    private func note(_ error: DatabaseError) {
        context.metrics.claimFailed()
        if case .fenced(let bucket?, _) = error, let bucket = BucketID(rawValue: bucket) {
            refusedUntil[bucket] = Timestamp.now + Self.refusalPause
            return pace.apply(.claimed(0))
        }
        context.logger.debug("no claim", metadata: ["shard": "\(shard)", "error": "\(error)"])
        pace.apply(.shardFailed)
    }

    // MARK: Performing

    private func perform(_ effect: ClaimedEffect) async {
        let start = EventLoop.nanoseconds
        let outcome = await outcome(of: effect)
        let decision = context.settings.policy.decide(
            outcome,
            attempts: effect.attempts,
            chance: Double.random(in: 0..<1, using: &context.random)
        )
        context.metrics.ended(effect, outcome, nanoseconds: EventLoop.nanoseconds - start)
        report(effect, outcome, decision)
        verdicts.append(Verdict(effect: effect, decision: decision))
        settle()
    }

    private func outcome(of effect: ClaimedEffect) async -> RetryPolicy.Outcome {
        guard let handler = context.handlers[effect.kind], effect.version <= handler.version else {
            return .unknown
        }
        let target = handler.target(of: effect).map { context.database.shard(of: $0) }
        if let target, context.breaker.isOut(target, at: Timestamp.now) {
            return .unavailable("shard \(target) does not answer")
        }
        do {
            try await handler.handle(effect)
            if let target { context.breaker.answered(target) }
            return .succeeded
        } catch {
            let outcome = RetryPolicy.Outcome(error)
            if case .unavailable = outcome, let target {
                context.breaker.failed(target, at: Timestamp.now)
            }
            return outcome
        }
    }

    private func report(
        _ effect: ClaimedEffect,
        _ outcome: RetryPolicy.Outcome,
        _ decision: RetryPolicy.Decision
    ) {
        var metadata: Logger.Metadata = [
            "kind": "\(effect.kind)", "id": "\(effect.id)", "attempts": "\(effect.attempts)",
        ]
        if let trace = effect.traceparent { metadata["traceparent"] = "\(trace)" }
        switch decision {
        case .complete: break
        case .bury(let reason):
            metadata["reason"] = "\(reason)"
            context.logger.error("effect given up", metadata: metadata)
        case .retry(_, true, let reason):
            metadata["reason"] = "\(reason ?? "")"
            context.logger.warning("effect failed", metadata: metadata)
        case .retry(_, false, let reason):
            metadata["reason"] = "\(reason ?? "")"
            context.logger.debug("effect postponed", metadata: metadata)
        }
    }

    // MARK: Settling

    /// Writes verdicts one transaction at a time: what ends during one is settled by the next.
    private func settle() {
        guard !isSettling else { return }
        isSettling = true
        context.loop.spawn {
            while !self.verdicts.isEmpty {
                let batch = Array(self.verdicts.prefix(Self.settleBatch))
                self.verdicts.removeFirst(batch.count)
                await self.write(batch)
            }
            self.isSettling = false
        }
    }

    private func write(_ batch: [Verdict]) async {
        do throws(DatabaseError) {
            try await context.store.settle(batch, holds: false)
            for verdict in batch { forget(verdict.effect) }
        } catch {
            context.metrics.settleFailed()
            if case .fenced = error { await divide(batch) } else { await writeLater(batch) }
        }
    }

    /// One refused bucket must not keep the others from being settled.
    private func divide(_ batch: [Verdict]) async {
        let groups = Dictionary(grouping: batch) { $0.effect.owner }
        if groups.count > 1 {
            for (_, group) in groups.sorted(by: { $0.key < $1.key }) { await write(group) }
        } else {
            context.loop.spawn { await self.follow(batch) }
        }
    }

    /// Settles effects of a bucket that is moving, beside what else there is to settle: waits while it has no owner,
    /// and writes where it is then. Its rows move with the leases on them.
    private func follow(_ batch: [Verdict]) async {
        do throws(DatabaseError) {
            try await context.store.settle(batch, holds: true)
            for verdict in batch { forget(verdict.effect) }
        } catch {
            context.metrics.settleFailed()
            await writeLater(batch)
        }
    }

    /// A shard that is down may come back before the leases end. After that the effects run again, here or
    /// elsewhere.
    private func writeLater(_ batch: [Verdict]) async {
        let now = Timestamp.now
        let held = batch.filter { (leased[$0.effect.id]?.until ?? now) > now }
        for verdict in batch where !held.contains(where: { $0.effect.id == verdict.effect.id }) {
            forget(verdict.effect)
        }
        guard !held.isEmpty else { return }
        await context.pause(.milliseconds(200))
        await write(held)
    }

    private func forget(_ effect: ClaimedEffect) {
        leased[effect.id] = nil
        pace.apply(.ended)
        bell.ring()
    }

    // MARK: Leases and measures

    private func keepLeases() {
        guard !isAtRest else { return }
        context.loop.after(context.settings.lease / 3) { self.keepLeases() }
        let soon = Timestamp.now + context.settings.lease * 0.7
        let ending = leased.values.filter { $0.until < soon }.map(\.effect)
        guard !ending.isEmpty else { return }
        context.loop.spawn {
            await self.extend(ending)
        }
    }

    private func extend(_ effects: [ClaimedEffect]) async {
        let until = Timestamp.now + context.settings.lease
        do throws(DatabaseError) {
            try await context.store.extend(effects, lease: context.settings.lease)
            for effect in effects { leased[effect.id]?.until = until }
        } catch {
            // The lease may end: then the effect runs twice, which every handler allows.
            context.metrics.settleFailed()
            guard case .fenced = error else { return }
            let groups = Dictionary(grouping: effects, by: \.owner)
            guard groups.count > 1 else { return }
            for (_, group) in groups.sorted(by: { $0.key < $1.key }) { await extend(group) }
        }
    }

    private func measure() {
        guard !isStopped else { return }
        context.loop.after(Self.measureInterval) { self.measure() }
        context.loop.spawn {
            do throws(DatabaseError) {
                let depths = try await self.context.store.depths(on: self.shard)
                let dead = try await self.context.store.deadCount(on: self.shard)
                self.context.metrics.measured(depths, dead: dead, on: self.shard)
            } catch {
                // A shard that is down keeps its last figures; its claims report the failure.
            }
        }
    }
}

extension RetryPolicy.Outcome {
    init(_ error: any Error) {
        switch error {
        case EffectError.later(let delay): self = .postponed(delay)
        case EffectError.dead(let reason): self = .hopeless(reason)
        // Effects may run twice, so a write that may have happened is simply done again.
        case DatabaseError.outcomeUnknown: self = .unavailable("the outcome of a write is unknown")
        case let error as DatabaseError where error.isRetryable: self = .unavailable("\(error)")
        case is CancellationError: self = .returned
        default: self = .failed("\(error)")
        }
    }
}
