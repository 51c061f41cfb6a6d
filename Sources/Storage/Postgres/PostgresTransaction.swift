/// One open transaction, in the hands of the body it was given to.
package final class PostgresTransaction: @unchecked Sendable {
    // @unchecked: touched on its loop only, which every statement asserts.
    private let session: LinkSession
    private var hasBegun = false
    private var hasEnded = false
    private var refusal: DatabaseError?

    init(_ session: LinkSession) {
        self.session = session
    }

    /// Runs one statement; BEGIN travels with the first one.
    @discardableResult
    package func query(_ sql: SQL) async throws(DatabaseError) -> Rows {
        try await query([sql])[0]
    }

    /// Runs several statements in one round trip.
    @discardableResult
    package func query(_ statements: [SQL]) async throws(DatabaseError) -> [Rows] {
        precondition(!hasEnded, "the transaction has ended")
        if let refusal { throw refusal }
        let opening = hasBegun ? [] : [WriteLane.begin]
        hasBegun = true
        do {
            return Array(try await session.run(opening + statements).dropFirst(opening.count))
        } catch {
            refusal = error
            throw error
        }
    }

    func commit() async throws(DatabaseError) {
        if let refusal { throw refusal }
        guard hasBegun else { return }
        hasEnded = true
        _ = try await session.run([WriteLane.commit], .commit, isShielded: true)
    }

    func rollBack() async {
        hasEnded = true
        guard session.isUsable, session.link.isInTransaction else { return }
        do {
            _ = try await session.run([WriteLane.rollback], isShielded: true)
        } catch {
            // The server rolls back what loses its connection.
            session.link.drop("ROLLBACK failed: \(error)")
        }
    }
}
