import Bus
import Contracts
import Database
import EventLoops
import Events
import HTTP
import JSON
import Logging
import Metrics
import Postgres
import Sharding
import Shards
import TestSupport

@testable import Streaming

/// Two shards, a bus, and any number of nodes' hubs on one loop; posts and notifications are answered from memory.
final class StreamingWorld: @unchecked Sendable {
    // @unchecked: used on its loop only.
    let loop: EventLoop
    let log: EventLog
    let contents = Contents()
    private let app: Database
    private let workerLog: EventLog
    private let bus: BusServer?
    private var clients: [BusClient] = []
    private var hubs: [StreamHub] = []
    private lazy var speaker = EventBell(bus: client())

    private init(_ app: Database, _ worker: Database, _ bus: BusServer?) {
        self.app = app
        loop = app.loop
        log = EventLog(database: app)
        workerLog = EventLog(database: worker)
        self.bus = bus
    }

    static func run(
        withBus: Bool = true,
        _ body: @escaping @Sendable (StreamingWorld) async throws -> Void
    ) async throws {
        let shards = try await TestCluster.make(shards: 2, modules: ["Events"])
        let bus = withBus ? try await BusServer.start() : nil
        try await shards.run { app, worker in
            let world = StreamingWorld(app, worker, bus)
            do { try await body(world) } catch {
                world.end()
                throw error
            }
            world.end()
        }
        await bus?.process.stop()
    }

    private func end() {
        for hub in hubs { hub.stop() }
        for client in clients { client.stop() }
    }

    private func client() -> BusClient {
        let client = BusClient(
            loop: loop,
            settings: bus.map {
                BusSettings(
                    host: $0.host,
                    port: $0.port,
                    user: BusServer.user,
                    password: BusServer.password
                )
            },
            metrics: MetricsRegistry(),
            log: Logger(label: "bus")
        )
        client.start()
        clients.append(client)
        return client
    }

    /// The hub of one more node, whose bus is reached.
    func aNode() async throws -> StreamHub {
        let hub = StreamHub(
            bus: client(),
            log: log,
            posts: contents,
            notifications: contents,
            sessions: contents,
            metrics: MetricsRegistry(),
            logger: Logger(label: "hub")
        )
        hub.start()
        hubs.append(hub)
        if bus != nil {
            _ = speaker
            try await until { clients.allSatisfy(\.isConnected) }
        }
        return hub
    }

    func aUser(_ number: Int) -> UserID {
        let bucket = BucketID(rawValue: number % BucketID.count)!
        return UserID(rawValue: HybridClock.id(reading: Int64(number + 1) << 20, bucket: bucket))
    }

    /// What a worker does: writes events and rings.
    func tell(_ kind: UserEvent.Kind, _ subject: Int64, _ users: UserID..., rings: Bool = true)
        async throws
    {
        let hints = try await workerLog.append(kind, PostID(rawValue: subject), to: users)
        if rings { speaker.ring(hints) }
    }

    func tellEverybody(_ post: Int64, _ news: EventBell.PostNews) {
        speaker.tell(of: PostID(rawValue: post), news)
    }

    struct TooLate: Error {}

    func until(_ condition: () -> Bool) async throws {
        for _ in 0..<3_000 {
            if condition() { return }
            try await loop.sleep(for: .milliseconds(5))
        }
        throw TooLate()
    }
}

/// A client that remembers what it was told.
final class Ear: StreamListener, @unchecked Sendable {
    // @unchecked: used on its world's loop only.
    var heard: [String] = []
    var gaps: [Int64] = []
    var isRevoked = false

    override func deliver(_ message: StreamMessage, of streams: [StreamName]) {
        let payload = String(decoding: message.payload, as: UTF8.self)
        let json = try? JSONReader.parse(message.payload)
        let id = json?["id"]?.string ?? payload
        for stream in streams {
            heard.append("\(stream.parts.joined(separator: "/")) \(message.event) \(id)")
        }
    }

    override func skipped(to place: Int64) { gaps.append(place) }
    override func revoke() { isRevoked = true }
}

/// Posts and notifications from memory: each exists and may be seen, unless told.
final class Contents: PostsClient, NotificationsClient, SessionsClient, @unchecked Sendable {
    // @unchecked: used on the world's loop only.
    struct Away: Error {}

    var hidden: Set<Int64> = []
    var tags: [Int64: String] = [:]
    var isAway = false
    var over: Set<SessionID> = []

    private let account = AccountEntity(
        id: UserID(rawValue: 1 << 16),
        username: "a",
        displayName: "",
        url: "http://tessera.test/@a",
        avatar: "http://tessera.test/a.png",
        header: "http://tessera.test/h.png",
        createdAt: Timestamp(milliseconds: 1)
    )

    func statuses(
        _ ids: [PostID],
        viewer: UserID?,
        by way: VisibilityRules.Way
    ) async throws -> [PostID: StatusEntity] {
        if isAway { throw Away() }
        let shown = Set(ids).filter { !hidden.contains($0.rawValue) }.map { id in
            StatusEntity(
                id: id,
                createdAt: id.createdAt,
                account: account,
                content: "",
                visibility: .public,
                url: "http://tessera.test/\(id)",
                tags: tags[id.rawValue].map {
                    [StatusTag(name: $0, url: "http://tessera.test/tags/\($0)")]
                } ?? []
            )
        }
        return Dictionary(uniqueKeysWithValues: shown.map { ($0.id, $0) })
    }

    func homeStatuses(
        _ posts: [PostReference],
        viewer: UserID,
        marks: ViewerMarks
    ) async throws -> [PostID: StatusEntity] { [:] }

    func homeMarks(of viewer: UserID, in window: FeedWindow) async throws -> ViewerMarks {
        ViewerMarks()
    }

    func taggedPosts(for reader: UserID, in window: FeedWindow) async throws -> [PostReference] { [] }

    func recentPosts(of authors: [UserID], in window: FeedWindow) async throws -> [PostReference] { [] }

    func recentCount(of authors: [UserID], from id: Int64, limit: Int) async throws -> Int { 0 }

    func notifications(
        _ ids: [NotificationID],
        of user: UserID
    ) async throws -> [NotificationID: NotificationEntity] {
        if isAway { throw Away() }
        return Dictionary(
            uniqueKeysWithValues: ids.map { id in
                (
                    id,
                    NotificationEntity(
                        id: id,
                        kind: .follow,
                        createdAt: Timestamp(milliseconds: 1),
                        account: account,
                        status: nil,
                        groupKey: "follow-0"
                    )
                )
            }
        )
    }

    func revoked(among sessions: [SessionID]) async throws -> Set<SessionID> {
        over.intersection(sessions)
    }

    /// A token is the user's id and the scopes: `123:read`.
    func verify(_ token: String) async throws -> Authentication? {
        let parts = token.split(separator: ":").map(String.init)
        guard parts.count == 2, let user = UserID(parts[0]) else { return nil }
        return Authentication(
            user: user,
            session: SessionID(rawValue: user.rawValue),
            scopes: Scopes(names: [parts[1]])
        )
    }
}
