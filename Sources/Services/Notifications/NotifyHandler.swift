import Contracts
import Database
import EventLoops
import Events
import Jobs
import Postgres
import Sharding

/// `notifications.notify`: writes down what users should hear of.
///
/// Effects of one shard that come while one write is under way are written together by the next, so that a post
/// which many like at once costs one transaction for each batch and not for each like.
package final class NotifyHandler: EffectHandler, @unchecked Sendable {
    // @unchecked: touched on its database's loop only.

    /// Effects of one transaction.
    private static let batchLimit = 256
    /// New rows of one recipient and kind after which old ones are deleted.
    private static let trimEvery = 64
    /// Recipients and kinds of whom new rows are counted; with more of them all counts begin anew.
    private static let countLimit = 10_000

    package let kind = EffectKinds.notify
    private let store: NotificationStore
    private let graph: any GraphClient
    private let bell: EventBell?
    private var queues: [ShardID: Queue] = [:]
    private var written: [Trim: Int] = [:]

    private struct Waiting {
        let cause: NotificationEffect
        let done: UnsafeContinuation<Result<Void, any Error>, Never>
    }

    private struct Queue {
        var waiting: [Waiting] = []
        var isWriting = false
    }

    private struct Trim: Hashable {
        let recipient: UserID
        let kind: NotificationKind
    }

    init(store: NotificationStore, graph: any GraphClient, bell: EventBell?) {
        self.store = store
        self.graph = graph
        self.bell = bell
    }

    package func handle(_ effect: ClaimedEffect) async throws {
        let cause = try effect.decode(NotificationEffect.init)
        guard cause.actor != cause.recipient else { return }
        guard cause.recipient.bucket == effect.owner else {
            throw EffectError.dead("the effect is not on its recipient's bucket")
        }
        let shard = store.database.shard(of: cause.recipient.bucket)
        let outcome = await withUnsafeContinuation {
            (done: UnsafeContinuation<Result<Void, any Error>, Never>) in
            queues[shard, default: Queue()].waiting.append(Waiting(cause: cause, done: done))
            begin(shard)
        }
        try outcome.get()
    }

    /// Writes at the end of the turn: by then all effects of one claim are here.
    private func begin(_ shard: ShardID) {
        guard queues[shard]?.isWriting == false else { return }
        queues[shard]?.isWriting = true
        let loop = store.database.loop
        loop.atEndOfTurn { loop.spawn { await self.drain(shard) } }
    }

    private func drain(_ shard: ShardID) async {
        while let queue = queues[shard], !queue.waiting.isEmpty {
            let batch = Array(queue.waiting.prefix(Self.batchLimit))
            queues[shard]?.waiting.removeFirst(batch.count)
            await settle(batch)
        }
        queues[shard] = nil
    }

    /// A bucket that refuses must not keep the others from being written.
    private func settle(_ batch: [Waiting]) async {
        do {
            try await write(batch.map(\.cause))
            for one in batch { one.done.resume(returning: .success(())) }
        } catch {
            let groups = Dictionary(grouping: batch, by: \.cause.recipient.bucket)
            guard groups.count > 1 else {
                for one in batch { one.done.resume(returning: .failure(error)) }
                return
            }
            for (_, group) in groups.sorted(by: { $0.key < $1.key }) { await settle(group) }
        }
    }

    private func write(_ causes: [NotificationEffect]) async throws {
        let newest = Self.newest(of: causes)
        let wanted = try await wanted(newest)
        guard !wanted.isEmpty else { return }
        let hints = try await store.write(wanted, trims: trims(wanted), holds: false)
        bell?.ring(hints)
    }

    /// Of several states of one cause the last; a statement may write each row once only.
    private static func newest(of causes: [NotificationEffect]) -> [NotificationEffect] {
        struct Cause: Hashable {
            let recipient: UserID
            let kind: NotificationKind
            let subject: Int64
            let actor: UserID
        }
        var newest: [Cause: Int] = [:]
        for (index, cause) in causes.enumerated() {
            let key = Cause(
                recipient: cause.recipient,
                kind: cause.kind,
                subject: cause.subject,
                actor: cause.actor
            )
            if let known = newest[key], causes[known].version >= cause.version { continue }
            newest[key] = index
        }
        return newest.values.sorted().map { causes[$0] }
    }

    // MARK: What is wanted

    /// Without what recipients do not want to hear. What is taken back is always written.
    private func wanted(_ causes: [NotificationEffect]) async throws -> [NotificationEffect] {
        let begun = causes.filter(\.active)
        guard !begun.isEmpty else { return causes }
        let byRecipient = Dictionary(grouping: begun, by: \.recipient)
        let recipients = byRecipient.keys.sorted()
        let senders = try await store.senders(of: recipients)
        var refused: [UserID: Set<UserID>] = [:]
        var strangers: [UserID: Set<UserID>] = [:]
        for recipient in recipients {
            let actors = Set(byRecipient[recipient]!.map(\.actor)).sorted()
            let standing = try await graph.standing(of: recipient, to: actors)
            let rules = VisibilityRules(viewer: recipient, standing: standing)
            // What the actors' accounts are is asked when it is read: a worker knows the recipient's side.
            refused[recipient] = Set(
                actors.filter { !rules.allowNotification(from: $0, OwnerState()) }
            )
            strangers[recipient] = Set(actors).subtracting(standing.followed)
        }
        return causes.filter { cause in
            guard cause.active else { return true }
            if refused[cause.recipient]?.contains(cause.actor) == true { return false }
            return switch senders[cause.recipient]?[cause.kind] ?? .everyone {
            case .everyone: true
            case .followed: strangers[cause.recipient]?.contains(cause.actor) != true
            case .nobody: false
            }
        }
    }

    // MARK: Bounds

    /// Of whom old rows are deleted now: of each recipient and kind after some new ones.
    private func trims(
        _ causes: [NotificationEffect]
    ) -> [(recipient: UserID, kind: NotificationKind)] {
        if written.count > Self.countLimit { written = [:] }
        var due: [(recipient: UserID, kind: NotificationKind)] = []
        for cause in causes where cause.active {
            let trim = Trim(recipient: cause.recipient, kind: cause.kind)
            written[trim, default: 0] += 1
            guard written[trim]! >= Self.trimEvery else { continue }
            written[trim] = 0
            due.append((cause.recipient, cause.kind))
        }
        return due
    }
}
