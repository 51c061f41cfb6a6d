package import Contracts
package import Crypto
package import Database
package import EventLoops
internal import JSON
package import Memcache
internal import Postgres
package import Sharding

/// Says what bearer tokens stand for, and takes revoked ones back.
///
/// A token is checked without I/O; whether its session stands is known from the shard, through memcached,
/// and is held here for a moment. All lifetimes together stay below ``refusalBound``, so that a revoked token is
/// refused by then even where each message about it was lost. Memcached holds states by session id, never
/// a token.
package final class SessionDirectory: SessionsClient, @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// A revoked token is refused everywhere after this long at the latest.
    package static let refusalBound = Duration.seconds(10)

    /// How old a shard's answer may be when it is put into memcached, and for how long it stays there.
    private static let loadTime = Duration.seconds(1)
    private static let cacheLifetime = Duration.seconds(4)

    /// How long this loop believes what it has looked up. One second is left for a slow cache.
    private static let holdTime = Duration.seconds(4)

    /// How many tokens each of two generations remembers.
    package static let generationLimit = 20_000

    private let loop: EventLoop
    private let tokens: AccessTokens
    private let store: SessionStore
    private let cache: any CacheClient
    private let clock: @Sendable () -> Timestamp
    private var young: [String: Held] = [:]
    private var old: [String: Held] = [:]

    private struct Held {
        var session: SessionID
        /// Nil for a session that is over.
        var authentication: Authentication?
        var expiresAt: Timestamp
        /// The loop's milliseconds when the looking up began.
        var since: UInt64
    }

    package init(
        loop: EventLoop,
        keys: KeyRing,
        database: Database,
        cache: any CacheClient,
        clock: @escaping @Sendable () -> Timestamp = { .now }
    ) {
        self.loop = loop
        tokens = AccessTokens(keys: keys)
        store = SessionStore(database: database)
        self.cache = cache
        self.clock = clock
    }

    package func verify(_ text: String) async throws -> Authentication? {
        let now = clock()
        if let held = young[text] ?? old[text], isFresh(held) {
            return held.expiresAt > now ? held.authentication : nil
        }
        guard let token = tokens.read(text, at: now) else { return nil }
        let began = loop.milliseconds
        let state = try await state(of: token.session)
        let authentication = state.client.map { client in
            Authentication(
                user: token.user,
                session: token.session,
                application: client,
                scopes: token.scopes
            )
        }
        hold(
            text,
            Held(
                session: token.session,
                authentication: authentication,
                expiresAt: token.expiresAt,
                since: began
            )
        )
        return authentication
    }

    package func revoked(among sessions: [SessionID]) async throws -> Set<SessionID> {
        guard !sessions.isEmpty else { return [] }
        return Set(try await store.revoked(among: sessions))
    }

    package func held(_ text: String) -> Authentication? {
        guard let held = young[text] ?? old[text], isFresh(held), held.expiresAt > clock() else {
            return nil
        }
        return held.authentication
    }

    /// Says everywhere we can that sessions are over; called after the shard has committed it.
    package func forget(_ sessions: [SessionID]) async {
        guard !sessions.isEmpty else { return }
        let gone = Set(sessions)
        young = young.filter { !gone.contains($0.value.session) }
        old = old.filter { !gone.contains($0.value.session) }
        // Where memcached does not answer, what it holds ends by itself in time.
        _ = await cache.delete(sessions.map(Self.key))
    }

    private func isFresh(_ held: Held) -> Bool {
        loop.milliseconds - held.since < Self.holdTime.wholeMilliseconds
    }

    private func hold(_ text: String, _ held: Held) {
        if young.count >= Self.generationLimit, young[text] == nil {
            old = young
            young = [:]
        }
        young[text] = held
    }

    // MARK: States

    private static func key(_ session: SessionID) -> CacheKey {
        CacheKey(.session, "session:\(session)")
    }

    private func state(of session: SessionID) async throws -> SessionState {
        let key = Self.key(session)
        if let bytes = await cache.get(key), let state = SessionState(bytes) { return state }
        switch await cache.reserve(key) {
        case .filled(let bytes):
            if let state = SessionState(bytes) { return state }
            return try await load(session)
        case .owned(let token):
            let began = loop.milliseconds
            do {
                let state = try await load(session)
                // The fill contract allows ten seconds between reading and storing; that is too long here.
                if loop.milliseconds - began < Self.loadTime.wholeMilliseconds {
                    _ = await cache.store(
                        key,
                        state.jsonBytes,
                        ttl: Self.cacheLifetime,
                        token: token
                    )
                } else {
                    _ = await cache.delete([key])
                }
                return state
            } catch {
                _ = await cache.delete([key])
                throw error
            }
        case .taken, .unavailable:
            return try await load(session)
        }
    }

    private func load(_ session: SessionID) async throws -> SessionState {
        guard let row = try await store.session(session), row.revokedAt == nil else {
            return SessionState(client: nil)
        }
        return SessionState(client: .init(name: row.clientName, website: row.clientWebsite))
    }
}

/// Whether a session stands, and what it posts with.
struct SessionState: JSONEncodable {
    /// Nil for a session that is over.
    var client: StatusEntity.Client?

    init(client: StatusEntity.Client?) {
        self.client = client
    }

    /// Nil for what is no state: then it is a miss.
    init?(_ bytes: [UInt8]) {
        guard let json = try? JSONReader.parse(bytes), let stands = json["on"]?.bool else {
            // Whatever was there is not ours; the shard knows better.
            return nil
        }
        client =
            stands
            ? .init(name: json["name"]?.string ?? "", website: json["website"]?.string) : nil
    }

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("on", client != nil)
            json.field("name", client?.name)
            json.field("website", client?.website)
        }
    }
}
