/// Decides when a worker asks a shard for work, and for how much.
///
/// Asks at once while there is work, then ever less often: an effect that is enqueued on a quiet shard is
/// seen within ``Limits/longestPause``, and a quiet cluster costs a few cheap reads a second. `NOTIFY` was
/// refused: it takes a lock at commit which would put every write of a shard in a line.
package struct ClaimPace: Sendable, Equatable {
    package struct Limits: Sendable, Equatable {
        /// Effects of one shard that one runner works on at a time.
        package var inFlight = 128
        /// Effects that one claim takes.
        package var batch = 64
        package var shortestPause = Duration.milliseconds(2)
        package var pause = Duration.milliseconds(20)
        /// The pause on a shard which has been quiet for ``quietPauses`` pauses.
        package var longestPause = Duration.milliseconds(40)
        package var quietPauses = 500
        /// The pause while the shard does not answer.
        package var pauseWhileDown = Duration.milliseconds(500)

        package init() {}
    }

    package enum Event: Sendable, Equatable {
        /// A claim took this many effects.
        case claimed(Int)
        case ended
        /// Work was done here or enqueued somewhere, so more is likely.
        case stirred
        case shardFailed
        case draining
    }

    package enum Step: Sendable, Equatable {
        case claim(limit: Int)
        case pause(Duration)
        /// Every place is taken: goes on when an effect has ended.
        case waitForRoom
        case stop
    }

    private let limits: Limits
    package private(set) var inFlight = 0
    private var emptyClaims = 0
    private var mustPause = false
    /// Whether effects were enqueued after the claim under way had begun, so that it may not see them.
    private var isStirred = false
    private var isDown = false
    private var isDraining = false

    package init(_ limits: Limits = Limits()) {
        self.limits = limits
    }

    package mutating func apply(_ event: Event) {
        switch event {
        case .claimed(let count):
            isDown = false
            inFlight += count
            emptyClaims = count == 0 ? emptyClaims + 1 : 0
            mustPause = count == 0 && !isStirred
        case .ended:
            precondition(inFlight > 0, "more effects ended than were claimed")
            inFlight -= 1
            stir()
        case .stirred:
            stir()
            isStirred = true
        case .shardFailed:
            isDown = true
            mustPause = true
        case .draining:
            isDraining = true
        }
    }

    private mutating func stir() {
        emptyClaims = 0
        if !isDown { mustPause = false }
    }

    /// What to do now. A pause is taken once; after it the answer is to claim.
    package mutating func next() -> Step {
        if isDraining { return .stop }
        if mustPause {
            mustPause = false
            return .pause(pause)
        }
        let room = limits.inFlight - inFlight
        isStirred = false
        return room <= 0 ? .waitForRoom : .claim(limit: min(room, limits.batch))
    }

    private var pause: Duration {
        if isDown { return limits.pauseWhileDown }
        if emptyClaims > limits.quietPauses { return limits.longestPause }
        let doublings = min(max(emptyClaims - 1, 0), 10)
        return min(limits.shortestPause * (1 << doublings), limits.pause)
    }
}
