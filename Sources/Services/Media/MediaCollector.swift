import Database
import EventLoops
import Logging
import Objects
import Postgres
import Sharding

/// Takes away the files of media whose time is over: uploads that were never posted or never finished, photos of
/// deleted posts, replaced avatars; and what crashed uploads left in the store.
///
/// Any number may run. A row becomes a tombstone before its files go, so one that fails half-way is found again.
package final class MediaCollector: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// How many media one round takes from a shard.
    static let roundLimit = 100

    private let database: Database
    private let store: MediaStore
    private let objects: DirectoryStore
    private let logger: Logger
    private var isStopped = false

    package init(database: Database, objects: DirectoryStore, logger: Logger) {
        self.database = database
        store = MediaStore(database: database)
        self.objects = objects
        self.logger = logger
    }

    /// Collects every `interval` from now on, until ``stop()``. Called on the database's loop.
    package func start(every interval: Duration = .seconds(5)) {
        let loop = database.loop
        loop.spawn { [self] in
            while !isStopped {
                await collect()
                do {
                    try await loop.sleep(for: interval)
                } catch {
                    return
                }
            }
        }
    }

    package func stop() { isStopped = true }

    /// One round over all shards; returns how many media lost their files. What a shard or the disk refuses is
    /// logged and tried again in the next round.
    @discardableResult
    package func collect() async -> Int {
        var collected = 0
        for shard in database.shards {
            do {
                for medium in try await store.expired(on: shard, limit: Self.roundLimit) {
                    guard try await store.bury(medium.id) else { continue }
                    for object in medium.name.objects { try await objects.delete(object) }
                    try await store.forgetFiles(of: medium.id)
                    collected += 1
                }
            } catch {
                logger.notice(
                    "media not collected",
                    metadata: ["shard": "\(shard)", "error": "\(error)"]
                )
            }
        }
        do {
            try await objects.collectLeftovers()
        } catch {
            logger.notice("leftovers not collected", metadata: ["error": "\(error)"])
        }
        return collected
    }
}
