import Contracts
import Events
import Bus
import EventLoops
import HTTP
import JSON
import Logging
import Metrics
import Sharding

/// Brings events to the clients of one loop.
///
/// A hint on the bus says that a user's stream has something new; what it is, is read from the user's shard, from
/// the place that each client has reached on. So a hint may be lost, come twice or too early. Where the bus is away,
/// and once in a while in any case, streams are looked at without a hint.
package final class StreamHub: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Streams that one read asks for.
    private static let readLimit = 500
    /// Users for whom entities are fetched at the same time.
    private static let fetchLimit = 32
    /// How often streams are looked at without a hint, with the bus and without it.
    private static let lookInterval = Duration.seconds(30)
    private static let busLessInterval = Duration.seconds(2)
    /// How often the sessions of all clients are looked at: a revoked one ends within this and a read.
    static let sessionInterval = Duration.seconds(5)
    /// Sessions that one question names.
    private static let sessionLimit = 1_000
    private static let retryPause = Duration.seconds(1)
    /// After how long a stream is looked at again that somebody has begun to listen to.
    private static let secondLook = Duration.seconds(1)
    /// Clients of one user on one loop.
    static let clientsPerUser = 50
    /// Public posts of which it is remembered that they were told, so that their end is told, too.
    private static let toldLimit = 2_000
    /// Public posts that wait to be fetched; past it, they are passed over.
    private static let newsLimit = 1_000

    let loop: EventLoop
    let log: EventLog
    private let bus: BusClient
    private let bell: EventBell
    private let contents: StreamContents
    private let sessions: any SessionsClient
    private let logger: Logger
    private let clients: Gauge
    private let delivered: Counter

    private var users: [UserID: UserStream] = [:]
    private var dirty: [UserID] = []
    private var isReading = false
    private var fetching = 0
    private var isStopped = false

    private var publicListeners: [ObjectIdentifier: StreamListener] = [:]
    private var publicSubscription: BusSubscription?
    private var news: [(post: Int64, news: EventBell.PostNews)] = []
    private var isTelling = false
    private var told: Set<Int64> = []
    private var toldInOrder: [Int64] = []

    package init(
        bus: BusClient,
        log: EventLog,
        posts: any PostsClient,
        notifications: any NotificationsClient,
        sessions: any SessionsClient,
        metrics: MetricsRegistry,
        logger: Logger
    ) {
        loop = bus.loop
        self.bus = bus
        self.log = log
        bell = EventBell(bus: bus)
        contents = StreamContents(posts: posts, notifications: notifications)
        self.sessions = sessions
        self.logger = logger
        clients = metrics.gauge("tessera_streaming_clients", help: "Clients that listen now.")
        delivered = metrics.counter(
            "tessera_streaming_events_total",
            help: "Events that were handed to clients."
        )
    }

    package func start() {
        bus.onConnect { [weak self] in self?.lookAtAll() }
        lookAgain()
        checkSessions()
    }

    /// Tells all clients to go elsewhere; WebSockets are told by their server.
    package func stop() {
        isStopped = true
        for stream in users.values { for listener in stream.listeners { listener.goAway() } }
        for listener in publicListeners.values { listener.goAway() }
    }

    // MARK: Clients

    /// Adds a stream to what a client listens to, from `place` on where it gives one; false where it may not.
    ///
    /// What the client is told begins with the first event after the return, or after `place`.
    func listen(
        _ listener: StreamListener,
        to stream: StreamName,
        after place: Int64?
    ) async throws -> Bool {
        guard !isStopped, (users[listener.user]?.listeners.count ?? 0) < Self.clientsPerUser,
            listener.add(stream)
        else { return false }
        guard stream.isPersonal else {
            publicListeners[ObjectIdentifier(listener)] = listener
            followPosts()
            return true
        }
        let user = listener.user
        let known = users[user] ?? UserStream(user: user)
        if users[user] == nil {
            users[user] = known
            // Before the stream is looked at: what comes in between is told twice rather than not.
            known.subscription = bell.listen(to: user) { [weak self, weak known] seq in
                guard let self, let known else { return }
                if known.needs(seq) { mark(known) }
            }
        }
        if !known.listeners.contains(where: { $0 === listener }) {
            known.listeners.append(listener)
            clients.add(1)
        }
        guard listener.place == nil else { return true }
        do {
            let state = try await log.listen(user)
            known.listenedAt = loop.milliseconds
            guard known.listeners.contains(where: { $0 === listener }) else { return false }
            if let place, !state.reaches(back: place) { listener.skipped(to: state.seq) }
            listener.place = place.map { state.reaches(back: $0) ? $0 : state.seq } ?? state.seq
            mark(known)
            // The bus may have heard of the subscription later than the shard of the question.
            loop.after(Self.secondLook) { [weak self, weak known] in
                if let self, let known { mark(known) }
            }
            return true
        } catch {
            leave(listener, stream)
            throw error
        }
    }

    /// Takes a stream away, or all of them.
    func leave(_ listener: StreamListener, _ stream: StreamName? = nil) {
        for name in stream.map({ [$0] }) ?? listener.streams { listener.remove(name) }
        if !listener.streams.contains(where: { !$0.isPersonal }) {
            publicListeners[ObjectIdentifier(listener)] = nil
            followPosts()
        }
        guard !listener.isPersonal, let known = users[listener.user] else { return }
        listener.place = nil
        let before = known.listeners.count
        known.listeners.removeAll { $0 === listener }
        clients.add(Double(known.listeners.count - before))
        if known.listeners.isEmpty {
            known.subscription?.cancel()
            users[listener.user] = nil
        }
    }

    // MARK: Reading streams

    private func mark(_ stream: UserStream) {
        if stream.isBusy {
            stream.isWoken = true
        } else if !stream.isDirty {
            stream.isDirty = true
            dirty.append(stream.user)
            read()
        }
    }

    private func lookAtAll() {
        for stream in users.values { mark(stream) }
    }

    private func lookAgain() {
        let pause = bus.isConnected ? Self.lookInterval : Self.busLessInterval
        loop.after(pause) { [weak self] in
            guard let self, !isStopped else { return }
            lookAtAll()
            renew()
            lookAgain()
        }
    }

    /// Says again of those who have listened for long that they listen.
    private func renew() {
        let age = EventLog.renewal.wholeMilliseconds
        for stream in users.values where loop.milliseconds - stream.listenedAt > age {
            stream.listenedAt = loop.milliseconds
            loop.spawn {
                // Where it fails it is said again at the next look.
                if (try? await self.log.listen(stream.user)) == nil { stream.listenedAt = 0 }
            }
        }
    }

    /// Reads at the end of the turn, for all users that have something new by then.
    private func read() {
        guard !isReading, !dirty.isEmpty, !isStopped else { return }
        isReading = true
        loop.atEndOfTurn { self.loop.spawn { await self.readDirty() } }
    }

    private func readDirty() async {
        while !dirty.isEmpty, !isStopped {
            let batch = dirty.prefix(Self.readLimit).compactMap { users[$0] }
            dirty.removeFirst(min(Self.readLimit, dirty.count))
            var places: [StreamPlace] = []
            for stream in batch {
                stream.isDirty = false
                guard !stream.isBusy, let place = stream.place else { continue }
                stream.isBusy = true
                places.append(StreamPlace(user: stream.user, seq: place))
            }
            let events = await log.events(after: places)
            let byUser = Dictionary(grouping: events, by: \.user)
            for place in places {
                guard let stream = users[UserID(rawValue: place.user)] else { continue }
                guard let events = byUser[place.user] else {
                    rest(stream)
                    continue
                }
                while fetching >= Self.fetchLimit { await pause() }
                fetching += 1
                loop.spawn {
                    await self.fetch(events, for: stream)
                    self.fetching -= 1
                }
            }
        }
        isReading = false
    }

    private func pause() async {
        // Nothing cancels the hub's own tasks.
        try? await loop.sleep(for: .milliseconds(1))
    }

    /// Brings events to the clients of one user, each client's in order and once.
    private func fetch(_ events: [UserEvent], for stream: UserStream) async {
        do {
            let messages = try await contents.messages(of: events, for: stream.user)
            for event in events { hand(event, messages[event.seq], to: stream) }
            if events.count >= EventLog.pageLimit { stream.isWoken = true }
            rest(stream)
        } catch {
            logger.notice("events wait", metadata: ["error": "\(error)"])
            loop.after(Self.retryPause) { [weak self] in
                stream.isWoken = true
                self?.rest(stream)
            }
        }
    }

    private func hand(_ event: UserEvent, _ message: StreamMessage?, to stream: UserStream) {
        for listener in stream.listeners {
            guard let place = listener.place, place < event.seq else { continue }
            listener.place = event.seq
            guard let message else { continue }
            let streams = listener.streams.filter {
                $0 == .user || $0 == .notifications && event.kind == .notification
            }
            guard !streams.isEmpty else { continue }
            delivered.add()
            listener.deliver(message, of: streams)
        }
    }

    private func rest(_ stream: UserStream) {
        stream.isBusy = false
        guard stream.isWoken else { return }
        stream.isWoken = false
        mark(stream)
    }

    // MARK: Posts of everybody

    private func followPosts() {
        if publicListeners.isEmpty {
            publicSubscription?.cancel()
            publicSubscription = nil
        } else if publicSubscription == nil {
            publicSubscription = bell.onPosts { [weak self] post, news in
                guard let self, self.news.count < Self.newsLimit else { return }
                self.news.append((post, news))
                tellNews()
            }
        }
    }

    private func tellNews() {
        guard !isTelling else { return }
        isTelling = true
        loop.spawn {
            while !self.news.isEmpty, !self.isStopped {
                let (post, news) = self.news.removeFirst()
                switch news {
                case .published: await self.tellPublished(PostID(rawValue: post))
                case .deleted: self.tellDeleted(post)
                }
            }
            self.isTelling = false
        }
    }

    /// Each client is asked for by itself whether it may see the post: there is one answer to that.
    private func tellPublished(_ post: PostID) async {
        // A post that cannot be fetched now is passed over: nobody resumes these streams.
        guard let open = try? await contents.openPost(post) else { return }
        remember(post.rawValue)
        for listener in Array(publicListeners.values) {
            let streams = listener.streams.filter { $0.has(open) }
            guard !streams.isEmpty,
                // As above: who cannot be asked for now is passed over.
                let message = try? await contents.update(post, for: listener.user)
            else { continue }
            delivered.add()
            listener.deliver(message, of: streams)
        }
    }

    private func tellDeleted(_ post: Int64) {
        guard told.remove(post) != nil else { return }
        let message = StreamMessage(event: "delete", payload: Array(String(post).utf8))
        for listener in publicListeners.values {
            let streams = listener.streams.filter { !$0.isPersonal }
            if !streams.isEmpty { listener.deliver(message, of: streams) }
        }
    }

    private func remember(_ post: Int64) {
        told.insert(post)
        toldInOrder.append(post)
        if toldInOrder.count > Self.toldLimit { told.remove(toldInOrder.removeFirst()) }
    }

    // MARK: Sessions

    private func checkSessions() {
        loop.after(Self.sessionInterval) { [weak self] in
            guard let self, !isStopped else { return }
            loop.spawn {
                await self.endRevoked()
                self.checkSessions()
            }
        }
    }

    private func endRevoked() async {
        var bySession: [SessionID: [StreamListener]] = [:]
        var seen: Set<ObjectIdentifier> = []
        for listener in users.values.flatMap(\.listeners) + publicListeners.values {
            guard let session = listener.session,
                seen.insert(ObjectIdentifier(listener)).inserted
            else { continue }
            bySession[session, default: []].append(listener)
        }
        let all = bySession.keys.sorted()
        for start in stride(from: 0, to: all.count, by: Self.sessionLimit) {
            let part = Array(all[start..<min(start + Self.sessionLimit, all.count)])
            do {
                for session in try await sessions.revoked(among: part) {
                    for listener in bySession[session] ?? [] { listener.revoke() }
                }
            } catch {
                // Nothing of a user is told while the user's shard does not answer.
                logger.notice("sessions not checked", metadata: ["error": "\(error)"])
            }
        }
    }
}

/// The clients of one user on one loop.
final class UserStream: @unchecked Sendable {
    // @unchecked: touched on its hub's loop only.
    let user: UserID
    var listeners: [StreamListener] = []
    var subscription: BusSubscription?
    var listenedAt: UInt64 = 0
    /// Waits to be read; is being read; has something new since the reading began.
    var isDirty = false
    var isBusy = false
    var isWoken = false

    init(user: UserID) {
        self.user = user
    }

    /// From where its clients need events; nil while none of them has a place.
    var place: Int64? { listeners.compactMap(\.place).min() }

    func needs(_ seq: Int64) -> Bool { place.map { $0 < seq } ?? false }
}
