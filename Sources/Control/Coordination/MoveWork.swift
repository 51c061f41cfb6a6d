package import Sharding

/// One attempt to fence the buckets of a move; what the owner rows hold in `attempt`, such as `m12.3`.
package struct FenceAttempt: Hashable, Sendable, CustomStringConvertible {
    package let move: MoveID

    /// 1 and above; never used twice in a move.
    package let number: Int

    package init(move: MoveID, number: Int) {
        precondition(number > 0, "attempts count from 1")
        self.move = move
        self.number = number
    }

    /// Reads what `description` writes.
    package init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let move = MoveID(String(parts[0])), let number = Int(parts[1]),
            number > 0, "\(move).\(number)" == text
        else { return nil }
        self.init(move: move, number: number)
    }

    package var description: String { "\(move).\(number)" }
}

/// One piece of work on the databases (or, for `publish`, on the map) that a move asks for.
///
/// Each is idempotent: a piece may run twice, late, and at the same time as a successor's. So each checks the
/// owner rows it relies on in the transaction in which it acts. Epochs are listed in the order of the
/// spec's buckets, and are always those of the *source* while it owned or was fenced; the target's are one higher.
package enum MoveWork: Hashable, Sendable {
    /// Reads owner rows and streams on both sides; a side that does not answer is left out. A stream counts as slot and
    /// subscription when it is the run's, and as something else when it is an earlier run's. → `observed`
    case observe(run: Int)
    /// Whether the move could work at all; changes nothing. → `size`
    case precheck
    /// Puts rows `incoming(e+1)`, marked with the move, on the target; where they stand already, raises them to the
    /// source's present epoch. A row that is `gone` must have a lower epoch than that. Refuses an owned bucket, and rows of the buckets that are not this move's. → `epochs`
    case prepareTarget
    /// From the start: removes what earlier runs left (subscription, rows at the target, slot), then makes
    /// publication and slot with an exported snapshot.
    ///
    /// Runs count up from 1, and one is used once; a mover that wakes up late must not spoil what its successor has
    /// verified. So the names of publication, slot and subscription contain the run; and the target remembers the
    /// highest run, which whatever deletes or copies rows there compares in the same transaction: a run that is
    /// not higher (here) or not the same (copy, attach) is `refused`. A rollback, which has no copy, is run 0: its
    /// stream is the reverse stream of the move that it rolls back.
    case openStream(run: Int)
    /// The rows of the run's snapshot; `lost` when the snapshot is gone. → `copied`
    case copy(run: Int)
    /// The subscription that follows the run's copy.
    case attachStream(run: Int)
    /// How far the target is behind, and how old the oldest transaction is that writes the buckets; `lost` when slot or
    /// subscription of the run are gone. → `lag`
    case measureLag(run: Int)
    /// Digests of both sides at equal positions. → `compared`
    case verify(run: Int)
    /// The slot on the target from which a rollback would read.
    case prepareReverse
    /// In one transaction on the source: the exclusive locks (waiting shortly, then ending who holds them),
    /// `own(e) → fenced(attempt)` for all buckets or none, and the marker row, which carries the source's id clock.
    case fence(FenceAttempt, [Epoch])
    /// Until the attempt's marker is visible on the target.
    case awaitMarker(FenceAttempt)
    /// What was applied since `verify`, on both sides. → `compared`
    case compareTail(FenceAttempt)
    /// Moves the reverse slot past all that came from the source.
    case advanceReverse(FenceAttempt)
    /// `fenced(attempt) → released(attempt)` on the source: the commit point. Done too where it was done before;
    /// `refused` where the attempt was given up.
    case release(FenceAttempt)
    /// `fenced(attempt) → own(e+2)` on the source, and `own(e) → own(e+2)`, so that a fence which is
    /// still on its way finds nothing. → `gaveUp` with the epochs that now hold, or `released` when it is too late.
    case giveUp(FenceAttempt, [Epoch])
    /// `incoming → own(e+1)` on the target, its id clock raised above the marker's; needs nothing of the source.
    case activate(FenceAttempt, [Epoch])
    /// The map's entries, where their epochs are lower. The epochs are the owner's.
    case publish(owner: ShardID, [Epoch])
    /// `released(attempt) → gone` on the source.
    case settleSource(FenceAttempt)
    /// Removes the stream that brought the rows: subscription, slot, publication, of every run.
    case detachStream
    /// Subscribes the source to the target; the forward stream is gone by now.
    case startReverse
    /// Whether the reverse stream keeps up; `lost` when it cannot. → `lag`
    case measureReverse
    /// Removes the reverse stream: subscription, slot, publication, all of it or what is there.
    case stopReverse
    /// Deletes, in batches, the buckets' rows on the source, where the owner rows say `gone` at these epochs;
    /// then markers and whatever else has the move's name, on both sides.
    case clean([Epoch])
    /// Removes all that the move made on both sides, the target's rows and owner rows among it where they are
    /// this move's `incoming`. They become `gone` at the source's
    /// epoch, below the one that the next move brings. A rollback's undo leaves rows and stream.
    case undo

    /// The work without what it carries, for logs, metrics and failpoints.
    package var name: String {
        switch self {
        case .observe: "observe"
        case .precheck: "precheck"
        case .prepareTarget: "prepareTarget"
        case .openStream: "openStream"
        case .copy: "copy"
        case .attachStream: "attachStream"
        case .measureLag: "measureLag"
        case .verify: "verify"
        case .prepareReverse: "prepareReverse"
        case .fence: "fence"
        case .awaitMarker: "awaitMarker"
        case .compareTail: "compareTail"
        case .advanceReverse: "advanceReverse"
        case .release: "release"
        case .giveUp: "giveUp"
        case .activate: "activate"
        case .publish: "publish"
        case .settleSource: "settleSource"
        case .detachStream: "detachStream"
        case .startReverse: "startReverse"
        case .measureReverse: "measureReverse"
        case .stopReverse: "stopReverse"
        case .clean: "clean"
        case .undo: "undo"
        }
    }
}

/// What a piece of work found out.
package enum MoveFact: Hashable, Sendable {
    case nothing
    case observed(ObservedMove)
    case size(rows: Int64, bytes: Int64)
    case epochs([Epoch])
    case copied(rows: Int64, bytes: Int64)
    case lag(bytes: Int64, oldestWriter: Duration)
    /// The digests in one text each; they agree where the texts are equal.
    case compared(source: String, target: String)
    case gaveUp([Epoch])
    case released
}

/// Why a piece of work came to nothing.
package struct MoveFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable, CaseIterable {
        /// Somebody did not answer, or not in time; it may or may not have happened, and may work again.
        case transient
        /// A rule says no: trying the same again changes nothing.
        case refused
        /// What the step stands on is gone (snapshot, slot, subscription): the copy starts again.
        case lost
    }

    package let kind: Kind

    /// For the operator: what is wrong, and what to do where that is known.
    package let message: String

    package init(kind: Kind, message: String) {
        self.kind = kind
        self.message = message
    }

    package var description: String { "\(kind.rawValue): \(message)" }
}

/// What happens to a move.
package enum MoveEvent: Hashable, Sendable {
    /// A coordinator takes the move up, new or from the journal; also to have a finished move looked at again.
    case begin
    /// The work of that turn is done. Turns count from each take-up: what was asked for by an earlier one, before a
    /// leader stepped down and led again, must not be answered to the present one.
    case done(turn: Int, MoveFact)
    case failed(turn: Int, MoveFailure)
    /// The time of that turn is over.
    case waited(turn: Int)
    case abortAsked(reason: String)
    /// The retention is to end now: the operator says so, or another move needs the buckets.
    case retireAsked
    /// The operator wants the buckets back; the rollback will have that name, which nothing else may take meanwhile.
    case rollbackAsked(as: MoveID)
    /// The move that rolls this one back has come to that final step.
    case rollbackEnded(MoveStep)
}

/// What must happen next, in the order given.
package enum MoveEffect: Hashable, Sendable {
    /// Write the move, as it is now, to the journal; the effects after it wait for that. Whoever no longer
    /// holds the lease does not get it written, and drops the move.
    case journal
    /// The same, but nothing waits for it; a later entry may overtake it.
    case note
    /// Answer with `done` or `failed` of the turn, within the limit, once; the answer to an earlier turn is no
    /// longer wanted, and its work may be cancelled.
    case perform(MoveWork, turn: Int, limit: Duration?)
    /// Answer with `waited` of the turn.
    case wait(Duration, turn: Int)
    /// Put the move into the journal, unless it is there, and take it up.
    case start(MoveSpec)
    /// The move is over; `step` says how.
    case finished
}
