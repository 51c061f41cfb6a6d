package import Database
internal import Postgres
package import Sharding

/// What time does to log-ins: sessions and codes that are over, and what became of old sign-ups, are forgotten.
package struct AccountSweep: Sendable {
    /// Rows of each kind that one sweep of a bucket forgets.
    private static let limit = 200

    private let database: Database

    package init(database: Database) {
        self.database = database
    }

    /// Sweeps one bucket. Any number of workers may sweep the same one.
    package func callAsFunction(_ bucket: BucketID) async throws {
        _ = try await database.write(
            on: bucket,
            [sessions(in: bucket), codes(in: bucket), signUps(in: bucket), decisions(in: bucket)]
        )
    }

    /// A session without a row is over, too. A day is kept for those that were revoked before they were opened.
    private func sessions(in bucket: BucketID) -> SQL {
        """
        DELETE FROM accounts.session
        WHERE bucket = \(bucket) AND id IN (
            SELECT id FROM accounts.session
            WHERE bucket = \(bucket)
                AND least(expires_at, revoked_at) < now() - interval '1 day'
            LIMIT \(Self.limit)
        )
        """
    }

    /// A code that comes twice ends what it opened; after a month it may as well be unknown.
    private func codes(in bucket: BucketID) -> SQL {
        """
        DELETE FROM accounts.code
        WHERE bucket = \(bucket) AND hash IN (
            SELECT hash FROM accounts.code
            WHERE bucket = \(bucket) AND expires_at < now() - interval '30 days'
            LIMIT \(Self.limit)
        )
        """
    }

    private func signUps(in bucket: BucketID) -> SQL {
        """
        DELETE FROM accounts.sign_up
        WHERE bucket = \(bucket) AND key_hash IN (
            SELECT key_hash FROM accounts.sign_up
            WHERE bucket = \(bucket) AND created_at < now() - interval '7 days'
            LIMIT \(Self.limit)
        )
        """
    }

    /// A decision has to outlive each claim that asks for it. Its names are held once this bucket owes no
    /// confirmation; a claim that is settled later finds them held, or void again.
    private func decisions(in bucket: BucketID) -> SQL {
        """
        DELETE FROM accounts.decision AS d
        WHERE d.bucket = \(bucket) AND d.id IN (
            SELECT id FROM accounts.decision
            WHERE bucket = \(bucket) AND decided_at < now() - interval '30 days'
            LIMIT \(Self.limit)
        )
            AND NOT EXISTS (
                SELECT FROM jobs.outbox AS o
                WHERE o.bucket = \(bucket) AND o.kind = \(AccountEffects.confirm)
            )
            AND NOT EXISTS (
                SELECT FROM jobs.dead AS o
                WHERE o.bucket = \(bucket) AND o.kind = \(AccountEffects.confirm)
            )
        """
    }
}
