import Contracts
import Database
import Jobs
import Postgres
import Sharding

/// A poll has ended: its author and those who voted are told.
struct EndPoll: EffectHandler {
    /// Voters of one batch, and batches of one run, which has to end within its lease.
    static let batchLimit = 200
    static let runLimit = 10

    /// How many of those who voted are told: it is news to the first ones only.
    static let toldLimit = batchLimit * runLimit

    let kind = EffectKinds.postsPollEnd
    let directory: PostDirectory
    let polls: PollStore

    func handle(_ effect: ClaimedEffect) async throws {
        let ended = try effect.decode(PostEffect.init)
        guard try await directory.store.post(ended.post) != nil else { return }
        await directory.cache.forget([ended.post])
        var after: Int64 = 0
        var told = [ended.author]
        for _ in 0..<Self.runLimit {
            let voters = try await polls.voters(
                on: ended.post,
                after: after,
                limit: Self.batchLimit
            )
            told += voters.map(\.value)
            after = voters.last?.cursor ?? after
            if voters.count < Self.batchLimit { break }
        }
        let news = told.map {
            NotificationEffect(recipient: $0, kind: .poll, actor: ended.author, post: ended.post)
        }
        // Each lies with its recipient; telling one twice tells once.
        for effect in news.map({ TellUser.arrival(of: $0, trace: effect.traceparent) }) {
            try await directory.store.database.write(on: effect.owner, [effect.enqueue])
        }
    }

    /// What starts it: due when the poll ends.
    static func effect(of post: Post, trace: String?) -> Effect? {
        post.details.poll.map { poll in
            Effect(
                EffectKinds.postsPollEnd,
                owner: post.id,
                payload: PostEffect(post: post.id, author: post.author),
                traceparent: trace,
                delay: max(.zero, poll.expiresAt - .now)
            )
        }
    }
}
