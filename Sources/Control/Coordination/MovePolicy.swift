/// The bounds of every move.
package struct MovePolicy: Hashable, Sendable {
    /// The fence is tried only when the target is less behind than this.
    package var lagLimitBytes: Int64 = 256 << 10

    /// … and nobody has been writing the buckets for longer than this.
    package var writerLimit: Duration = .milliseconds(200)

    /// From asking for the fence to its release; an attempt that takes longer is given up.
    package var pauseLimit: Duration = .seconds(2)

    /// How often the fence is tried before the move is undone.
    package var attemptLimit = 10

    /// A copy that was lost or differs is started again up to this run; then the move is undone.
    package var copyLimit = 8

    /// How often in a row one piece of work may fail before the move is undone, while it still can be.
    package var tryLimit = 8

    /// How often the lag is looked at, in one attempt, before the move is undone.
    package var lagCheckLimit = 3_600

    /// How long to wait between two looks at the lag.
    package var lagPoll: Duration = .milliseconds(500)

    /// The first wait after a failure; each further one is twice as long …
    package var firstWait: Duration = .milliseconds(250)

    /// … up to this.
    package var longestWait: Duration = .seconds(10)

    /// Between two tries while the buckets are fenced.
    package var pauseRetry: Duration = .milliseconds(20)

    /// How long the old rows and the reverse stream stay, so that the move can be rolled back.
    package var retention: Duration = .seconds(3_600)

    /// Retention is counted in steps of this length; a successor begins only the present one again.
    package var retentionSlice: Duration = .seconds(60)

    /// Whether a reverse stream is kept during the retention.
    package var keepsReverse = true

    /// Work that is neither bounded by the pause nor long by nature must answer within this.
    package var workLimit: Duration = .seconds(60)

    package init() {}
}
