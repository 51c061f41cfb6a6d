/// Where the coordinator's records lie in etcd.
package enum CoordinatorKeys {
    /// Who leads; lives as long as its lease.
    package static let leader = "/tessera/coordinator/leader"

    /// One value a move, under its name.
    package static let moves = "/tessera/coordinator/moves/"

    /// What the running moves last told of themselves, under their names; lost without harm.
    package static let progress = "/tessera/coordinator/progress/"

    /// What operators ask for.
    package static let intent = "/tessera/coordinator/intent"

    /// The moves that an operator has agreed to.
    package static let plan = "/tessera/coordinator/plan"

    /// The number of the next move.
    package static let numbers = "/tessera/coordinator/numbers"

    /// What each app node and worker says of itself, under its name.
    package static let nodes = "/tessera/nodes/"
}

/// The version of what lies under ``CoordinatorKeys``.
///
/// A program that finds a higher one leaves everything as it is: it cannot know what it would break.
package enum JournalFormat {
    package static let known = 1
}
