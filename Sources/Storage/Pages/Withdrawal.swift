/// What a shard says must leave the pages that lie rendered in a cache.
///
/// The rows are written by triggers, in the transaction of their cause; `control.withdrawn` has the numbers.
package enum Withdrawal: Sendable, Hashable {
    /// Nobody may see the post any more.
    case post(Int64)
    /// Nobody may see anything of the author any more.
    case author(Int64)
    /// The viewer does not want to see, or may not see, what the author posts.
    case apart(viewer: Int64, author: Int64)
    /// Neither of the two may see the other.
    case block(Int64, Int64)
    /// What a ``block(_:_:)`` said is over; pages that were rendered under it are dropped as well.
    case unblock(Int64, Int64)
    /// The post is not what it was.
    case changed(post: Int64)
    /// An author has published whose posts are merged when a feed is read.
    case published(author: Int64)
    /// Fewer may see what the author posts: the account has gone private.
    case narrowed(author: Int64)
    /// What a ``narrowed(author:)`` said is over.
    case widened(author: Int64)

    /// Nil for a kind that a newer version writes.
    package init?(kind: Int64, subject: Int64, other: Int64) {
        switch kind {
        case 1: self = .post(subject)
        case 2: self = .author(subject)
        case 3: self = .apart(viewer: subject, author: other)
        case 4: self = .block(subject, other)
        case 5: self = .unblock(subject, other)
        case 6: self = .changed(post: subject)
        case 7: self = .published(author: subject)
        case 8: self = .narrowed(author: subject)
        case 9: self = .widened(author: subject)
        default: return nil
        }
    }
}

/// One row of a shard's log, with the transaction that wrote it.
package struct LoggedWithdrawal: Sendable, Equatable {
    package var transaction: Int64
    package var withdrawal: Withdrawal

    package init(transaction: Int64, _ withdrawal: Withdrawal) {
        self.transaction = transaction
        self.withdrawal = withdrawal
    }
}

/// What one look at a shard's log has brought.
package struct WithdrawnRows: Sendable, Equatable {
    /// The oldest transaction that was under way when the shard was asked: all before it have ended, and what they
    /// wrote has been read, now or earlier.
    package var position: Int64
    /// In the order of their transactions.
    package var rows: [LoggedWithdrawal]
    /// False where there was more than one look takes.
    package var isWhole: Bool

    package init(position: Int64, rows: [LoggedWithdrawal], isWhole: Bool = true) {
        self.position = position
        self.rows = rows
        self.isWhole = isWhole
    }
}
