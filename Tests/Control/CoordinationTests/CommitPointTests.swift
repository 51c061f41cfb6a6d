import Testing

/// The commit point of a move, sharding.md section 5.2: all orders of what two movers, the stream and writers can do, when any
/// of them may stop for ever at any point.
struct CommitPointTests {
    @Test func `no order of steps makes two owners or loses a write`() {
        let space = CommitPoint.explore(.ownerRow)

        #expect(space.bad == nil, "\(space.bad!.path)")
        #expect(space.states.count > 500)
    }

    @Test func `a journal that is read before activating makes two owners`() throws {
        let space = CommitPoint.explore(.journalRead)

        let bad = try #require(space.bad)
        #expect(bad.state.sourceOwns && bad.state.targetOwns)
        #expect(bad.path.contains { $0.hasPrefix("B gives up") })
    }

    @Test func `activating without the marker loses a write`() throws {
        let space = CommitPoint.explore(.noMarker)

        let bad = try #require(space.bad)
        #expect(bad.state.targetOwns && bad.state.applied < bad.state.accepted)
    }

    @Test func `giving up what was released makes two owners`() throws {
        let space = CommitPoint.explore(.giveUpReleased)

        let bad = try #require(space.bad)
        #expect(bad.state.sourceOwns && bad.state.targetOwns)
    }
}

/// One bucket, its source and target, two movers, two attempts, two writes.
struct CommitPoint: Hashable {
    enum Variant { case ownerRow, journalRead, noMarker, giveUpReleased }
    enum Source: Hashable { case own, fenced(Int), released(Int) }
    enum Mover: Hashable { case idle, fenced(Int), drained(Int), mayActivate(Int), stopped }

    static let attempts = 2
    static let writes = 2

    var source = Source.own
    var targetOwns = false
    /// Writes that the source has accepted, and those that the target has.
    var accepted = 0
    var applied = 0
    /// For each attempt, how many writes were before its marker; nil before it was fenced.
    var markers: [Int?] = [nil, nil]
    var movers: [Mover] = [.idle, .idle]
    /// What the journal says was given up.
    var givenUp: Set<Int> = []

    var sourceOwns: Bool { source == .own }
    var isBad: Bool { targetOwns && (sourceOwns || applied < accepted) }

    static func explore(_ variant: Variant) -> StateSpace<CommitPoint> {
        StateSpace(
            from: CommitPoint(),
            next: { $0.next(variant) },
            isBad: { $0.isBad }
        )
    }

    private func changed(_ body: (inout CommitPoint) -> Void) -> CommitPoint {
        var copy = self
        body(&copy)
        return copy
    }

    private func next(_ variant: Variant) -> [(step: String, state: CommitPoint)] {
        var steps: [(String, CommitPoint)] = []
        if sourceOwns, accepted < Self.writes {
            steps.append(("write", changed { $0.accepted += 1 }))
        }
        if applied < accepted { steps.append(("apply", changed { $0.applied += 1 })) }
        for mover in movers.indices {
            let name = mover == 0 ? "A" : "B"
            for (step, state) in moves(of: mover, variant) {
                steps.append(("\(name) \(step)", state))
            }
        }
        return steps
    }

    private func moves(of mover: Int, _ variant: Variant) -> [(String, CommitPoint)] {
        var steps: [(String, CommitPoint)] = []
        func step(_ name: String, _ body: (inout CommitPoint) -> Void) {
            steps.append((name, changed(body)))
        }
        switch movers[mover] {
        case .idle:
            if sourceOwns, let attempt = markers.firstIndex(of: nil), !targetOwns {
                step("fences \(attempt)") {
                    $0.source = .fenced(attempt)
                    $0.markers[attempt] = $0.accepted
                    $0.movers[mover] = .fenced(attempt)
                }
            }
            // A successor takes up what it finds.
            if case .fenced(let attempt) = source {
                step("finds \(attempt)") { $0.movers[mover] = .fenced(attempt) }
            }
            if case .released(let attempt) = source {
                step("finds released") { $0.movers[mover] = .mayActivate(attempt) }
            }
        case .fenced(let attempt):
            if variant == .noMarker || applied >= markers[attempt]! {
                step("sees the marker") { $0.movers[mover] = .drained(attempt) }
            }
            steps += givingUp(attempt, by: mover, variant)
        case .drained(let attempt):
            if variant == .journalRead {
                if !givenUp.contains(attempt) {
                    step("reads the journal") { $0.movers[mover] = .mayActivate(attempt) }
                }
            } else if source == .fenced(attempt) {
                step("releases") {
                    $0.source = .released(attempt)
                    $0.movers[mover] = .mayActivate(attempt)
                }
            }
            steps += givingUp(attempt, by: mover, variant)
        case .mayActivate:
            step("activates") {
                $0.targetOwns = true
                $0.movers[mover] = .stopped
            }
        case .stopped: break
        }
        return steps
    }

    private func givingUp(
        _ attempt: Int,
        by mover: Int,
        _ variant: Variant
    ) -> [(String, CommitPoint)] {
        let isReleased = source == .released(attempt) && variant == .giveUpReleased
        guard source == .fenced(attempt) || isReleased else { return [] }
        return [
            (
                "gives up",
                changed {
                    $0.source = .own
                    $0.givenUp.insert(attempt)
                    $0.movers[mover] = .idle
                }
            )
        ]
    }
}
