package import Contracts

/// Readers whose feeds were kept a short while ago, as one loop of a worker has seen them.
///
/// Asking whether a feed is kept costs a third of the insert into it. A yes may be remembered: a feed is
/// given up after days without its reader, and what is delivered to it a few minutes longer is only rows that
/// nobody needs. A no may not: the reader may have returned, and their rebuild counts on every post after that.
package struct KeptReaders {
    /// How long a yes is good for, at most.
    package static let lifetime = Duration.seconds(120)
    /// Readers of one generation; there are two.
    package static let limit = 200_000

    private var young: Set<UserID> = []
    private var old: Set<UserID> = []
    private var turnsAt = Duration.zero

    package init() {}

    /// Divides readers into those who are known and those who must be asked for; both keep their order.
    package mutating func split(
        _ readers: [UserID],
        at now: Duration
    ) -> (known: [UserID], asked: [UserID]) {
        turn(at: now)
        if young.isEmpty && old.isEmpty { return ([], readers) }
        var known: [UserID] = []
        var asked: [UserID] = []
        known.reserveCapacity(readers.count)
        for reader in readers {
            if young.contains(reader) || old.contains(reader) {
                known.append(reader)
            } else {
                asked.append(reader)
            }
        }
        return (known, asked)
    }

    /// Remembers readers whose feeds were seen to be kept.
    package mutating func learn(_ readers: [UserID], at now: Duration) {
        turn(at: now)
        for reader in readers where young.count < Self.limit { young.insert(reader) }
    }

    private mutating func turn(at now: Duration) {
        guard now >= turnsAt || young.count >= Self.limit else { return }
        // Whoever has not come for the whole of a generation's time is forgotten with both.
        old = now >= turnsAt + Self.lifetime / 2 ? [] : young
        young = []
        turnsAt = now + Self.lifetime / 2
    }
}
