/// How far a move has come; the journal holds it.
///
/// A word that ends in -ing is what goes on now, any other is what has been reached. Up to ``drained``
/// everything can be taken back; ``released`` is the one commit point, after which the only way is forward.
package enum MoveStep: String, Sendable, CaseIterable, Comparable {
    case planned
    case prechecked
    case prepared
    case copying
    case catchingUp
    case verifying
    case fencing
    case fenced
    case drained
    case released
    case activated
    case published
    case reverseSync
    case retired
    case cleaned
    /// The other end: given up before it was released, or rolled back after.
    case undone

    /// Nothing is left to do.
    package var isFinal: Bool { self == .cleaned || self == .undone }

    /// Writes of the buckets are refused, or may be, until the move goes on or gives up.
    package var isPause: Bool { self >= .fencing && self < .activated }

    /// The move can no longer be taken back, only be rolled back by another one.
    package var isCommitted: Bool { self >= .released && self < .undone }

    private var position: Int { Self.allCases.firstIndex(of: self)! }

    package static func < (a: MoveStep, b: MoveStep) -> Bool { a.position < b.position }
}
