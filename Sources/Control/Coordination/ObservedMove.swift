package import Sharding

/// One row of `control.bucket_owner`.
package struct OwnerRow: Hashable, Sendable {
    package enum State: String, Sendable, CaseIterable {
        case own, fenced, released, incoming, gone
    }

    package var state: State
    package var epoch: Epoch

    /// `m12.3` where fenced or released, `m12` where incoming.
    package var attempt: String?
    package var next: ShardID?

    package init(state: State, epoch: Epoch, attempt: String? = nil, next: ShardID? = nil) {
        self.state = state
        self.epoch = epoch
        self.attempt = attempt
        self.next = next
    }
}

/// What the databases say about a move: all that a successor has besides the journal.
package struct ObservedMove: Hashable, Sendable {
    /// What one side has.
    package struct Side: Hashable, Sendable {
        /// In the order of the spec's buckets; nil where there is no row.
        package var owners: [OwnerRow?]

        /// Slot and publication of the stream that leaves this side for the move.
        package var hasSlot: Bool

        /// The subscription that brings the move's rows to this side.
        package var hasSubscription: Bool

        /// Anything else of the move's name: marker rows, publications, rows of a bucket that is not here.
        package var hasOther: Bool

        package init(
            owners: [OwnerRow?],
            hasSlot: Bool = false,
            hasSubscription: Bool = false,
            hasOther: Bool = false
        ) {
            self.owners = owners
            self.hasSlot = hasSlot
            self.hasSubscription = hasSubscription
            self.hasOther = hasOther
        }
    }

    /// nil when it did not answer.
    package var source: Side?
    package var target: Side?

    package init(source: Side?, target: Side?) {
        self.source = source
        self.target = target
    }
}

/// What all owner rows of one side say together; they change in one transaction, so they agree.
enum SideSays: Hashable {
    case own([Epoch])
    case fenced(FenceAttempt, [Epoch])
    case released(FenceAttempt, [Epoch])
    case incoming(MoveID?, [Epoch])
    case gone([Epoch])
    case nothing
    /// The rows differ from one another, or belong to something that is no move.
    case mixed
}

extension ObservedMove.Side {
    var says: SideSays {
        let rows = owners.compactMap { $0 }
        guard let first = rows.first else { return .nothing }
        guard rows.count == owners.count,
            rows.allSatisfy({ $0.state == first.state })
        else { return .mixed }
        let epochs = rows.map(\.epoch)
        // A row keeps the name of its last attempt when it is given back, so it says nothing there.
        if first.state != .own, first.state != .gone,
            rows.contains(where: { $0.attempt != first.attempt })
        {
            return .mixed
        }
        switch first.state {
        case .own: return .own(epochs)
        case .gone: return .gone(epochs)
        case .incoming: return .incoming(first.attempt.flatMap { MoveID($0) }, epochs)
        case .fenced, .released:
            guard let attempt = first.attempt.flatMap({ FenceAttempt($0) }) else { return .mixed }
            return first.state == .fenced ? .fenced(attempt, epochs) : .released(attempt, epochs)
        }
    }
}
