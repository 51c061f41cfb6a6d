import Contracts

/// How many reports a user may send to one loop: some at once, and then one a second. The longest unused users are
/// forgotten, which gives them all of it again.
struct ReportBudget {
    static let burst = 30.0
    static let recovery = Duration.seconds(1)
    /// Users of one generation; there are two.
    static let generationLimit = 20_000

    private struct Spent {
        var reports: Double
        var at: UInt64
    }

    private var young: [UserID: Spent] = [:]
    private var old: [UserID: Spent] = [:]

    /// `now` in milliseconds of a clock that does not go back.
    mutating func take(_ user: UserID, at now: UInt64) -> Bool {
        let spent = young[user] ?? old[user] ?? Spent(reports: 0, at: now)
        let recovered = Double(now - spent.at) / Double(Self.recovery.components.seconds * 1_000)
        let reports = max(0, spent.reports - recovered) + 1
        guard reports <= Self.burst else { return false }
        if young.count >= Self.generationLimit, young[user] == nil {
            old = young
            young = [:]
        }
        young[user] = Spent(reports: reports, at: now)
        return true
    }
}
