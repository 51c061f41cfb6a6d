package import EventLoops
internal import Glibc
package import Memcache
package import Metrics

/// Rendered pages of one loop: looked up, judged by the ``WithdrawnLog``, filled and dropped.
///
/// A page is put there by the fill contract of ``CacheClient``: whatever deletes it while it is rendered keeps it out.
package final class PageCache: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// No page lives longer.
    package static let longestLifetime = Duration.seconds(60)
    /// A stamp is drawn anew after this; it only has to outlive the pages that carry it.
    private static let stampLifetime = Duration.seconds(86_400)

    private let loop: EventLoop
    private let cache: any CacheClient
    /// Knows what is gone, for those who render.
    package let follower: WithdrawnFollower
    private let lifetime: Duration
    private let instruments: PageInstruments

    /// A `lifetime` of zero keeps no pages.
    package init(
        loop: EventLoop,
        cache: any CacheClient,
        follower: WithdrawnFollower,
        lifetime: Duration,
        metrics: MetricsRegistry
    ) {
        precondition(lifetime <= Self.longestLifetime, "a page does not live that long")
        self.loop = loop
        self.cache = cache
        self.follower = follower
        self.lifetime = lifetime
        instruments = PageInstruments(metrics)
    }

    package var log: WithdrawnLog { follower.log }

    /// Whether any rendered page may be served at the moment.
    package var isReady: Bool { follower.log.isFresh(at: WithdrawnFollower.now) }

    package enum Found: Sendable {
        case page(RenderedPage)
        /// Nothing that may be served. With a draft, whoever renders the page may keep it.
        case nothing(PageDraft?)
    }

    /// The page, if it is there for this many entries and may be served: one round trip to the cache.
    package func find(_ key: PageKey, limit: Int) async -> Found {
        guard lifetime > .zero else { return .nothing(nil) }
        // Before anything is read.
        let position = follower.log.mark()
        let (lease, stamps) = await look(key)
        guard case .filled(let bytes) = lease.reservation else {
            instruments.missed(key.kind, Judgement.miss.label)
            return .nothing(await draft(key, position, stamps, lease.reservation))
        }
        let judgement = judge(bytes, limit: limit, stamps: stamps)
        if case .hit(let page) = judgement {
            instruments.served(key.kind, age: Self.wallMilliseconds - page.renderedAt)
            return .page(page)
        }
        instruments.missed(key.kind, judgement.label)
        // A node that is cut off leaves it to the others.
        if position == nil || judgement.isDeaf { return .nothing(nil) }
        _ = await cache.delete([key.cacheKey])
        let again = await cache.lease(key.cacheKey)
        return .nothing(await draft(key, position, stamps, again.reservation))
    }

    private func look(_ key: PageKey) async -> (lease: CacheLease, stamps: [UInt64?]) {
        let users = key.users
        guard !users.isEmpty else { return (await cache.lease(key.cacheKey), []) }
        let names = users.map(PageKey.stamp)
        async let values = cache.get(names)
        let lease = await cache.lease(key.cacheKey)
        let found = await values
        return (lease, names.map { found[$0].flatMap(Self.stamp) })
    }

    private enum Judgement {
        case hit(RenderedPage)
        case miss
        case otherLimit
        case stamped
        case refused(WithdrawnLog.Refusal)

        var isDeaf: Bool {
            if case .refused(.deaf) = self { true } else { false }
        }

        var label: String {
            switch self {
            case .hit: "hit"
            case .miss: "miss"
            case .otherLimit: "limit"
            case .stamped: "stamp"
            case .refused(let refusal): refusal.rawValue
            }
        }
    }

    private func judge(_ bytes: [UInt8], limit: Int, stamps: [UInt64?]) -> Judgement {
        guard let page = RenderedPage(bytes) else { return .miss }
        guard page.limit == limit else { return .otherLimit }
        for (index, stamp) in stamps.enumerated() where stamp != page.stamp(at: index) {
            return .stamped
        }
        let refusal = follower.log.refusal(of: page, at: WithdrawnFollower.now)
        return refusal.map(Judgement.refused) ?? .hit(page)
    }

    // MARK: Filling

    /// Everything that must be known before the first of the page's data is read; nil where nothing may be kept.
    private func draft(
        _ key: PageKey,
        _ position: WithdrawnLog.Position?,
        _ stamps: [UInt64?],
        _ reservation: CacheReservation
    ) async -> PageDraft? {
        guard case .owned(let token) = reservation else { return nil }
        var all: [UInt64] = []
        for (user, stamp) in zip(key.users, stamps) where position != nil {
            if let stamp = await self.stamp(of: user, known: stamp) { all.append(stamp) }
        }
        guard let position, all.count == stamps.count else {
            release(key, token)
            return nil
        }
        return PageDraft(key: key, token: token, position: position, stamps: all)
    }

    /// Nil where the cache does not answer.
    private func stamp(of user: Int64, known: UInt64?) async -> UInt64? {
        if let known { return known }
        let drawn = UInt64.random(in: 1 ... .max)
        let key = PageKey.stamp(user)
        if await cache.add(key, Self.bytes(drawn), ttl: Self.stampLifetime) { return drawn }
        return await cache.get(key).flatMap(Self.stamp)
    }

    /// Keeps a page that was rendered from the draft; nobody waits for it.
    package func keep(_ page: RenderedPage, _ draft: PageDraft) {
        let filling = CacheFilling(
            key: draft.key.cacheKey,
            value: page.bytes,
            token: draft.token
        )
        cache.settle([filling], ttl: lifetime)
    }

    /// Takes the reservation back, so that the next reader need not wait until it ends.
    package func abandon(_ draft: PageDraft) { release(draft.key, draft.token) }

    private func release(_ key: PageKey, _ token: CacheToken) {
        cache.settle(
            [CacheFilling(key: key.cacheKey, value: nil, token: token)],
            ttl: lifetime
        )
    }

    // MARK: Bytes

    static func stamp(_ bytes: [UInt8]) -> UInt64? {
        guard bytes.count == 8 else { return nil }
        return bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    static func bytes(_ stamp: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: stamp >> (56 - 8 * $0)) }
    }

    /// Unix time.
    package static var wallMilliseconds: Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }
}

/// A page that is being rendered: what was known before its first data were read.
package struct PageDraft: Sendable {
    let key: PageKey
    let token: CacheToken
    package let position: WithdrawnLog.Position
    package let stamps: [UInt64]
}

/// Drops rendered pages, for whoever changes what they show; each loop of app nodes and workers has one.
package final class PageDrop: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Pages of one question to the cache, and such questions at once: a lane that has more to do than it takes would
    /// forget its whole node.
    private static let chunk = 250
    private static let width = 8

    private let cache: any CacheClient
    private var free = width
    private var waiting = Ring<UnsafeContinuation<Void, Never>>()

    package init(cache: any CacheClient) {
        self.cache = cache
    }

    /// Before something that a user did is answered: their own timeline, and every page that they look at or that
    /// shows their own list.
    package func acted(_ users: [Int64]) async {
        // Where the node does not answer the pages end by themselves, and by the log of withdrawals.
        _ = await cache.delete(
            users.flatMap { [PageKey.home($0).cacheKey, PageKey.stamp($0)] }
        )
    }

    /// After the feeds of these readers have changed, which may be very many.
    package func homes(of readers: [Int64]) async {
        var rest = readers[...]
        while !rest.isEmpty {
            let keys = rest.prefix(Self.chunk).map { PageKey.home($0).cacheKey }
            rest = rest.dropFirst(Self.chunk)
            await enter()
            // As above.
            _ = await cache.delete(keys)
            leave()
        }
    }

    private func enter() async {
        if free > 0 {
            free -= 1
            return
        }
        await withUnsafeContinuation { waiting.append($0) }
    }

    /// Hands the place to whoever waits longest.
    private func leave() {
        if waiting.isEmpty { free += 1 } else { waiting.popFirst()!.resume() }
    }
}

/// What becomes of requests for pages; the cells of one loop.
private final class PageInstruments {
    private static let ages: [Double] = [0.1, 0.5, 1, 2, 5, 10, 20, 30, 45, 60, 90]
    private static let misses =
        ["miss", "limit", "stamp"] + WithdrawnLog.Refusal.allCases.map(\.rawValue)

    private struct Cells {
        let hits: Counter
        let age: Histogram
        let misses: [String: Counter]
    }

    /// In the order of the kinds.
    private let cells: [Cells]

    init(_ metrics: MetricsRegistry) {
        cells = PageKey.Kind.allCases.map { kind in
            func results(_ result: String) -> Counter {
                metrics.counter(
                    "tessera_pages_total",
                    help:
                        "First pages that were asked for, by whether and why not a rendered one was served.",
                    labels: [(name: "page", value: kind.label), (name: "result", value: result)]
                )
            }
            return Cells(
                hits: results("hit"),
                age: metrics.histogram(
                    "tessera_page_age_seconds",
                    help: "Age of rendered pages when they were served.",
                    labels: [(name: "page", value: kind.label)],
                    bounds: Self.ages
                ),
                misses: Dictionary(
                    uniqueKeysWithValues: Self.misses.map { ($0, results($0)) }
                )
            )
        }
    }

    func served(_ kind: PageKey.Kind, age milliseconds: Int64) {
        cells[kind.rawValue].hits.add()
        cells[kind.rawValue].age.record(Double(max(0, milliseconds)) / 1_000)
    }

    func missed(_ kind: PageKey.Kind, _ result: String) {
        cells[kind.rawValue].misses[result]?.add()
    }
}
