package import Sharding

/// Carries out the effects of one kind.
///
/// An effect may arrive twice, late, out of order, and twice at the same time; a handler is right if the
/// database ends the same. Statements that compare versions, `ON CONFLICT DO NOTHING` on natural keys, and
/// "delete where the reason still holds" are the usual means.
package protocol EffectHandler: Sendable {
    var kind: String { get }

    /// The newest payload version that it understands, and thereby all older ones.
    var version: Int16 { get }

    /// The bucket on whose shard the effect acts, if that is one.
    ///
    /// While that shard does not answer, the effect waits without holding a place in the queue.
    func target(of effect: ClaimedEffect) -> BucketID?

    /// Returns when the effect is done. Any error makes it run again later; see ``EffectError``.
    func handle(_ effect: ClaimedEffect) async throws
}

extension EffectHandler {
    package var version: Int16 { 1 }
    package func target(of effect: ClaimedEffect) -> BucketID? { nil }
}

/// What a handler throws to say more than "try again".
package enum EffectError: Error, Sendable, Equatable {
    /// Not now: try again after this long. Does not count as a failed attempt.
    case later(after: Duration)

    /// Never: keep it as a dead letter.
    case dead(String)
}
