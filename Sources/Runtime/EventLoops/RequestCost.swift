/// What one request has asked of caches and shards: counted for a request that asks for it, and for no other.
///
/// Bound to the request's task (``current``), which child tasks inherit; the clients of caches and shards add to it.
package final class RequestCost: @unchecked Sendable {
    // @unchecked: touched on the request's loop only.

    @TaskLocal package static var current: RequestCost?

    /// Questions to one kind of server, and the round trips that they shared.
    private struct Tally {
        private struct Trip: Hashable {
            let place: ObjectIdentifier
            let batch: Int
        }

        private(set) var questions = 0
        private var trips: Set<Trip> = []
        private var places: [ObjectIdentifier: Int] = [:]

        var count: Int { trips.count }
        /// The most round trips to any one place.
        var most: Int { places.values.max() ?? 0 }

        mutating func add(_ place: ObjectIdentifier, _ batch: Int) {
            questions += 1
            guard trips.insert(Trip(place: place, batch: batch)).inserted else { return }
            places[place, default: 0] += 1
        }
    }

    private var cache = Tally()
    private var shards = Tally()

    package init() {}

    /// A key travels to a cache node; keys of one batch share a round trip.
    package func askedCache(_ node: AnyObject, batch: Int) {
        cache.add(ObjectIdentifier(node), batch)
    }

    /// A statement travels to a shard; those of one batch stand between the same two syncs.
    package func askedShard(_ pool: AnyObject, batch: Int) {
        shards.add(ObjectIdentifier(pool), batch)
    }

    /// Round trips to cache nodes, and the keys that they carried.
    package var cacheTrips: Int { cache.count }
    package var cacheKeys: Int { cache.questions }

    /// `cache=ROUND TRIPS/KEYS, shards=PIPELINES/STATEMENTS, most=…/…`, the last of which are the most round trips to
    /// any one node and the most pipelines to any one shard.
    package var text: String {
        "cache=\(cache.count)/\(cache.questions), shards=\(shards.count)/\(shards.questions)"
            + ", most=\(cache.most)/\(shards.most)"
    }
}
