package import Database
package import Sharding

/// What time does to feeds: those of readers who stay away are given up, those that have grown too long are trimmed.
package struct FeedSweep: Sendable {
    /// Feeds of one bucket that one sweep gives up.
    private static let retireLimit = 50

    private let store: FeedStore
    private let idleDays: Int

    package init(database: Database, idleDays: Int) {
        store = FeedStore(database: database)
        self.idleDays = idleDays
    }

    /// Sweeps one bucket. Any number of workers may sweep the same one.
    package func callAsFunction(_ bucket: BucketID) async throws {
        _ = try await store.retireIdle(in: bucket, days: idleDays, limit: Self.retireLimit)
        _ = try await store.trim(in: bucket)
    }
}
