internal import Memcache

/// How many log-ins may fail on all nodes together, for each account and from each address.
///
/// Each attempt takes a place before its password is looked at, and keeps it if it fails; a place is a key in
/// memcached that `add` gives to one attempt only, so N nodes have no more of them than one. A cache that does not
/// answer neither refuses nor allows: then each node has its own limits alone (``LoginThrottle``). A cache that
/// loses its memory forgets the failures of a few minutes.
struct SharedThrottle: Sendable {
    enum Answer: Sendable {
        /// The places that the attempt holds; none where the cache does not answer.
        case go([CacheKey])
        case wait(Duration)
    }

    /// The most places that one account or address has, whatever its limits.
    private static let placeLimit = 100

    let cache: any CacheClient
    let account: LoginThrottle.Limits
    let address: LoginThrottle.Limits

    func begin(account name: String, address from: String) async -> Answer {
        let asked = [
            (places("account", name, account), account),
            (places("address", from, address), address),
        ]
        var held: [CacheKey] = []
        for (places, limits) in asked {
            switch await take(one: places, limits) {
            case .go(let keys): held += keys
            case .wait(let time):
                await end(held)
                return .wait(time)
            }
        }
        return .go(held)
    }

    /// Gives places back: the attempt did not fail.
    func end(_ held: [CacheKey]) async {
        guard !held.isEmpty else { return }
        // A place that stays taken ends by itself.
        _ = await cache.delete(held)
    }

    private func take(one places: [CacheKey], _ limits: LoginThrottle.Limits) async -> Answer {
        var usable = places
        // One more than there are places that can turn out to say nothing.
        for _ in 0...places.count {
            let taken = await cache.get(usable)
            guard let place = usable.filter({ taken[$0] == nil }).randomElement() else {
                return taken.isEmpty ? .go([]) : .wait(limits.recovery)
            }
            // At the end of its life a place is free again: as often as a bucket of one process recovers.
            if await cache.add(place, [1], ttl: limits.recovery * places.count) {
                return .go([place])
            }
            // Another attempt was faster, or its node is down; then this place says nothing.
            if await cache.get(place) == nil { usable.removeAll { $0 == place } }
        }
        return .wait(limits.recovery)
    }

    private func places(
        _ kind: String,
        _ name: String,
        _ limits: LoginThrottle.Limits
    ) -> [CacheKey] {
        (0..<min(Int(limits.burst), Self.placeLimit)).map {
            CacheKey(.session, "login:\(kind):\(name):\($0)")
        }
    }
}
