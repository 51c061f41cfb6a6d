internal import Coordination
internal import Sharding

// What a mover does in one database, each function one transaction, worded as the SQL functions of the product.

extension FakeShard {
    /// The names of a move's streams; the forward one is made anew by each run of the copy.
    static func forward(_ move: MoveID, _ run: Int) -> String { "\(move)-\(run)" }
    static func reverse(_ move: MoveID) -> String { "\(move)-reverse" }

    /// The stream that a move's rows come by.
    static func stream(_ spec: MoveSpec, _ run: Int) -> String {
        if case .rollback(let of) = spec.kind { return reverse(of) }
        return forward(spec.id, run)
    }

    private func refuse(_ message: String) -> MoveFailure {
        MoveFailure(kind: .refused, message: message)
    }

    func side(_ spec: MoveSpec, _ run: Int, isSource: Bool) -> ObservedMove.Side {
        let forward = Self.forward(spec.id, run)
        let reverse = Self.reverse(spec.id)
        let (sending, arriving) = isSource ? (forward, reverse) : (reverse, forward)
        let hasMarkers = spec.buckets.contains { bucket in
            markers[bucket]?.contains { $0.move == spec.id } ?? false
        }
        return ObservedMove.Side(
            owners: spec.buckets.map { owners[$0] },
            hasSlot: slots[sending] != nil,
            hasSubscription: subscriptions[arriving] != nil,
            hasOther: hasStreams(of: spec.id, besides: [sending, arriving]) || hasMarkers
        )
    }

    private func hasStreams(of move: MoveID, besides known: [String]) -> Bool {
        slots.contains { $0.value.move == move && !known.contains($0.key) }
            || subscriptions.contains { $0.value.move == move && !known.contains($0.key) }
    }

    func ownedEpochs(_ buckets: [BucketID]) throws -> [Epoch] {
        try buckets.map { bucket in
            guard let row = owners[bucket], row.state == .own else {
                throw refuse("\(id) does not own bucket \(bucket)")
            }
            return row.epoch
        }
    }

    // MARK: As target

    func markIncoming(_ spec: MoveSpec, _ epochs: [Epoch]) throws {
        let move = spec.id.description
        for (bucket, epoch) in zip(spec.buckets, epochs) {
            if let row = owners[bucket] {
                // Strictly above what it had: a request of a move that is long over changes nothing.
                let isOurs = row.state == .incoming && row.attempt == move && row.epoch <= epoch
                guard isOurs || row.state == .gone && row.epoch < epoch
                else { throw refuse("bucket \(bucket) is \(row.state) here") }
            }
        }
        for (bucket, epoch) in zip(spec.buckets, epochs) {
            setOwner(
                bucket,
                OwnerRow(state: .incoming, epoch: epoch, attempt: move, next: spec.source)
            )
        }
    }

    private func expects(_ spec: MoveSpec) -> Bool {
        spec.buckets.allSatisfy {
            owners[$0]?.state == .incoming && owners[$0]?.attempt == spec.id.description
        }
    }

    /// Begins a run: removes the subscription and the rows of earlier ones.
    func empty(for spec: MoveSpec, run: Int, flaw: Flaw?) throws {
        guard expects(spec) || flaw == .undoesOwned else { throw refuse("not expected here") }
        guard runs[spec.id, default: 0] < run || flaw == .ignoresRuns else {
            throw refuse("run \(run) is not the newest")
        }
        runs[spec.id] = run
        subscriptions = subscriptions.filter { $0.value.move != spec.id }
        for bucket in spec.buckets { commit(deletions(of: bucket)) }
    }

    func fill(_ rows: [(BucketID, Int, Int)], for spec: MoveSpec, run: Int, flaw: Flaw?) throws {
        guard expects(spec), runs[spec.id] == run || flaw == .ignoresRuns else {
            throw refuse("run \(run) is not the newest")
        }
        guard rows.allSatisfy({ self.rows[$0.0]?[$0.1] == nil }) else {
            throw MoveFailure(kind: .lost, message: "a row is there already")
        }
        commit(rows.map { .insert($0.0, key: $0.1, value: $0.2) })
    }

    func subscribe(_ spec: MoveSpec, run: Int, flaw: Flaw?) throws {
        guard expects(spec), runs[spec.id] == run || flaw == .ignoresRuns else {
            throw refuse("run \(run) is not the newest")
        }
        subscriptions[Self.forward(spec.id, run)] = Subscription(
            move: spec.id,
            publisher: spec.source
        )
    }

    func hasMarkers(_ spec: MoveSpec, _ attempt: FenceAttempt) -> Bool {
        spec.buckets.allSatisfy { markers[$0]?.contains(attempt) ?? false }
    }

    func activate(_ spec: MoveSpec, _ attempt: FenceAttempt, _ epochs: [Epoch]) throws {
        let after = epochs.map(\.next)
        if zip(spec.buckets, after).allSatisfy({
            owners[$0]?.state == .own && owners[$0]?.epoch == $1
        }) {
            return
        }
        let isExpected = zip(spec.buckets, after).allSatisfy {
            guard let row = owners[$0] else { return false }
            return row.state == .incoming && row.attempt == spec.id.description && row.epoch <= $1
        }
        guard isExpected else { throw refuse("the buckets are not on their way here") }
        raiseClock(above: attempt)
        for (bucket, epoch) in zip(spec.buckets, after) {
            setOwner(bucket, OwnerRow(state: .own, epoch: epoch, attempt: attempt.description))
        }
    }

    /// Takes back what the move made at its target.
    func undoTarget(_ spec: MoveSpec, flaw: Flaw?) {
        dropStreams(of: spec.id)
        let wasExpected = expects(spec) || flaw == .undoesOwned
        if wasExpected, spec.kind == .copy {
            for bucket in spec.buckets { commit(deletions(of: bucket)) }
        }
        for bucket in spec.buckets {
            if let row = owners[bucket], row.state == .incoming,
                row.attempt == spec.id.description
            {
                let before = Epoch(rawValue: row.epoch.rawValue - 1)
                setOwner(bucket, OwnerRow(state: .gone, epoch: before, next: spec.source))
            }
        }
        dropMarkers(of: spec)
    }

    // MARK: As source

    /// Makes the slot; what it gives are the rows of that moment.
    func openSlot(_ spec: MoveSpec, run: Int) throws -> [(BucketID, Int, Int)] {
        // One command of one connection: it is late or lost, but happens once.
        guard opened.insert(Self.forward(spec.id, run)).inserted else {
            throw refuse("run \(run) has a slot")
        }
        slots[Self.forward(spec.id, run)] = Slot(
            move: spec.id,
            buckets: Set(spec.buckets),
            position: log.count
        )
        return spec.buckets.flatMap { bucket in
            (rows[bucket] ?? [:]).sorted { $0.key < $1.key }.map { (bucket, $0.key, $0.value) }
        }
    }

    /// The end of the fence, when its locks are held.
    func fence(
        _ spec: MoveSpec,
        _ attempt: FenceAttempt,
        _ epochs: [Epoch],
        flaw: Flaw?
    ) throws {
        let name = attempt.description
        if spec.buckets.allSatisfy({
            owners[$0]?.state == .fenced && owners[$0]?.attempt == name
        }) {
            return
        }
        for (bucket, epoch) in zip(spec.buckets, epochs) {
            guard let row = owners[bucket], row.state == .own,
                row.epoch == epoch || flaw == .fenceIgnoresEpochs
            else { throw refuse("bucket \(bucket) is not owned at epoch \(epoch)") }
        }
        for bucket in spec.buckets {
            var row = owners[bucket]!
            (row.state, row.attempt, row.next) = (.fenced, name, spec.target)
            setOwner(bucket, row)
        }
        commit(spec.buckets.map { .marker($0, attempt, clock: clock) })
    }

    func release(_ spec: MoveSpec, _ attempt: FenceAttempt) throws {
        let name = attempt.description
        let holds = spec.buckets.allSatisfy { bucket in
            guard let row = owners[bucket], row.attempt == name else { return false }
            return row.state == .fenced || row.state == .released || row.state == .gone
        }
        guard holds else { throw refuse("\(attempt) does not hold the buckets") }
        for bucket in spec.buckets where owners[bucket]?.state == .fenced {
            var row = owners[bucket]!
            row.state = .released
            setOwner(bucket, row)
        }
    }

    /// nil when it is too late.
    func giveUp(
        _ buckets: [BucketID],
        _ attempt: FenceAttempt,
        _ epochs: [Epoch],
        flaw: Flaw?
    ) throws -> [Epoch]? {
        let name = attempt.description
        for bucket in buckets {
            guard let row = owners[bucket], row.attempt == name else { continue }
            if row.state == .released || row.state == .gone, flaw != .givesUpReleased {
                return nil
            }
        }
        for (bucket, epoch) in zip(buckets, epochs) {
            guard let row = owners[bucket], row.epoch == epoch else { continue }
            let isOurs = row.attempt == name && (row.state == .fenced || row.state == .released)
            guard row.state == .own || isOurs else { continue }
            setOwner(
                bucket,
                OwnerRow(state: .own, epoch: epoch.next.next, attempt: row.attempt)
            )
        }
        return try ownedEpochs(buckets)
    }

    func settle(_ spec: MoveSpec, _ attempt: FenceAttempt) {
        for bucket in spec.buckets {
            guard var row = owners[bucket], row.state == .released,
                row.attempt == attempt.description
            else { continue }
            row.state = .gone
            setOwner(bucket, row)
        }
    }

    func clean(_ spec: MoveSpec, _ epochs: [Epoch], flaw: Flaw?) {
        for (bucket, epoch) in zip(spec.buckets, epochs) {
            guard let row = owners[bucket] else { continue }
            let isGone = row.state == .gone && row.epoch == epoch
            if isGone || flaw == .cleansOwned { commit(deletions(of: bucket)) }
        }
        dropMarkers(of: spec)
        dropStreams(of: spec.id)
    }

    func dropStreams(of move: MoveID, besides kept: String? = nil) {
        slots = slots.filter { $0.value.move != move || $0.key == kept }
        subscriptions = subscriptions.filter { $0.value.move != move || $0.key == kept }
    }

    func dropMarkers(of spec: MoveSpec) {
        for bucket in spec.buckets {
            markers[bucket] = markers[bucket]?.filter { $0.move != spec.id }
        }
    }

    private func deletions(of bucket: BucketID) -> [Change] {
        (rows[bucket] ?? [:]).keys.sorted().map { .delete(bucket, key: $0) }
    }
}
