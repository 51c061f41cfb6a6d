import Contracts
import Database
import Jobs
import Postgres
import Sharding

/// Carries news of a post to the shard of whom it is for, where Notifications takes it up.
struct TellUser: EffectHandler {
    let kind = EffectKinds.postsTell
    let database: Database

    func target(of effect: ClaimedEffect) -> BucketID? {
        // What cannot be read has no target; `handle` buries it.
        (try? effect.decode(NotificationEffect.init))?.recipient.bucket
    }

    func handle(_ effect: ClaimedEffect) async throws {
        let news = try effect.decode(NotificationEffect.init)
        let arrival = Self.arrival(of: news, trace: effect.traceparent)
        try await database.write(on: news.recipient, [arrival.enqueue])
    }

    /// The effect that lies with the recipient.
    static func arrival(of news: NotificationEffect, trace: String?) -> Effect {
        Effect(EffectKinds.notify, owner: news.recipient, payload: news, traceparent: trace)
    }

    /// Whom a post is news for, or is no more: those it mentions and those it shows.
    static func effects(of post: Post, active: Bool, trace: String?) -> [Effect] {
        let mentioned = post.mentions.map { ($0.user, NotificationKind.mention) }
        let tagged = post.people.map { ($0.user, NotificationKind.tag) }
        return (mentioned + tagged).filter { $0.0 != post.author }.map { recipient, kind in
            Effect(
                EffectKinds.postsTell,
                owner: post.id,
                payload: NotificationEffect(
                    recipient: recipient,
                    kind: kind,
                    actor: post.author,
                    post: post.id,
                    version: active ? 1 : 2,
                    active: active
                ),
                traceparent: trace
            )
        }
    }
}
