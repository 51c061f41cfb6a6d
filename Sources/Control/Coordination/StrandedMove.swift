package import Sharding

/// What a worker does for buckets that nobody moves on: it has only the owner rows, no journal and no etcd.
///
/// A worker never releases, since it does not know whether the target has everything. It gives a fence up that has stood
/// too long, and activates what has been released; either is what the coordinator would do, and the owner rows let only
/// one of the two happen.
package enum StrandedMove {
    /// For how long a worker must have seen the same attempt before it acts: longer than any pause is meant to be.
    package static let patience: Duration = .seconds(3)

    package enum Action: Hashable, Sendable {
        case wait
        /// As ``MoveWork/giveUp(_:_:)`` on the source.
        case giveUp(FenceAttempt, [Epoch])
        /// As ``MoveWork/activate(_:_:)`` on the target, which `next` names.
        case activate(FenceAttempt, [Epoch], target: ShardID)
    }

    /// For the rows of one attempt on the source, which the worker has seen unchanged for that long by its own clock.
    package static func action(for rows: [OwnerRow], seenFor: Duration) -> Action {
        guard let first = rows.first, let target = first.next,
            let attempt = first.attempt.flatMap({ FenceAttempt($0) }),
            rows.allSatisfy({ $0.state == first.state && $0.attempt == first.attempt })
        else { return .wait }
        let epochs = rows.map(\.epoch)
        switch first.state {
        case .fenced: return seenFor < patience ? .wait : .giveUp(attempt, epochs)
        case .released: return .activate(attempt, epochs, target: target)
        case .own, .incoming, .gone: return .wait
        }
    }
}
