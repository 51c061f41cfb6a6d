import Contracts
import Database
import EventLoops
import Events
import HTTP
import JSON
import Jobs
import Logging
import Metrics
import Postgres
import ServiceKit
import Sharding
import Shards
import TestSupport

@testable import Notifications

/// Two real shards and the Notifications service on one loop; the other services answer from memory.
final class NotificationsWorld: @unchecked Sendable {
    // @unchecked: used on its loop only.
    let cluster: TestCluster
    let loop: EventLoop
    let app: Database
    let worker: Database
    let neighbours = Neighbours()
    let service: NotificationsService
    let handler: any EffectHandler
    private let server: ServiceServer
    private var effects: Int64 = 0

    private init(_ cluster: TestCluster, _ app: Database, _ worker: Database) {
        self.cluster = cluster
        self.app = app
        self.worker = worker
        loop = app.loop
        service = NotificationsService(
            database: app,
            accounts: neighbours,
            graph: neighbours,
            posts: neighbours,
            recent: nil
        )
        handler = NotificationsService.effects(database: worker, graph: neighbours, bell: nil)[0]
        server = ServiceServer(
            endpoints: service.endpoints,
            sessions: neighbours,
            publicURL: "http://tessera.test",
            metrics: MetricsRegistry(),
            log: Logger(label: "test")
        )
    }

    static func run(
        _ body: @escaping @Sendable (NotificationsWorld) async throws -> Void
    ) async throws {
        let cluster = try await TestCluster.make(
            shards: 2,
            modules: ["Jobs", "Events", "Notifications"]
        )
        try await cluster.run { app, worker in
            try await body(NotificationsWorld(cluster, app, worker))
        }
    }

    func aUser(_ number: Int) -> UserID {
        let bucket = BucketID(rawValue: number % BucketID.count)!
        return UserID(rawValue: HybridClock.id(reading: Int64(number + 1) << 20, bucket: bucket))
    }

    func aPost(_ number: Int, by author: UserID) -> PostID {
        PostID(rawValue: HybridClock.id(reading: Int64(number + 1) << 20, bucket: author.bucket))
    }

    // MARK: Effects

    func effect(_ cause: NotificationEffect) -> ClaimedEffect {
        effects += 1
        return ClaimedEffect(
            kind: EffectKinds.notify,
            owner: cause.recipient.bucket,
            id: effects,
            payload: cause.jsonBytes
        )
    }

    func notify(_ causes: NotificationEffect...) async throws {
        for cause in causes { try await handler.handle(effect(cause)) }
    }

    /// Carries them out at the same time, as a worker does.
    func notifyTogether(_ causes: [NotificationEffect]) async throws {
        let due = causes.map(effect)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for effect in due { group.addTask { try await self.handler.handle(effect) } }
            try await group.waitForAll()
        }
    }

    // MARK: Asking

    struct Answer {
        let status: Int
        let headers: Headers
        let json: JSONValue
    }

    @discardableResult
    func ask(
        _ method: HTTP.Method,
        _ target: String,
        _ form: String = "",
        as user: UserID
    ) async throws -> Answer {
        var headers: Headers = ["Authorization": "Bearer \(user)"]
        if !form.isEmpty { headers["Content-Type"] = "application/x-www-form-urlencoded" }
        let request = Request(
            method,
            target,
            headers: headers,
            body: RequestBody(bytes: Array(form.utf8)),
            loop: loop
        )
        let response = try await server.handle(request)
        guard case .bytes(let body) = response.body else { throw NoBody() }
        return Answer(
            status: response.status.code,
            headers: response.headers,
            json: try JSONReader.parse(body)
        )
    }

    struct NoBody: Error {}

    /// Kind, actor and post of what a user's list shows.
    func list(of user: UserID, _ query: String = "") async throws -> [String] {
        let answer = try await ask(.get, "/api/v1/notifications\(query)", as: user)
        return (answer.json.array ?? []).map { one in
            let status = one["status"]?["id"]?.string.map { " \($0)" } ?? ""
            return "\(one["type"]?.string ?? "?") \(one["account"]?["id"]?.string ?? "?")\(status)"
        }
    }
}

/// The other services, from memory: everybody and every post exists and is public, unless told.
final class Neighbours: AccountsClient, GraphClient, PostsClient, SessionsClient,
    @unchecked Sendable
{
    // @unchecked: used on the world's loop only.
    var blocks: Set<[UserID]> = []
    var silenced: Set<[UserID]> = []
    var follows: Set<[UserID]> = []
    var hidden: Set<PostID> = []

    func accounts(_ ids: [UserID]) async throws -> [UserID: AccountEntity] {
        Dictionary(uniqueKeysWithValues: Set(ids).map { ($0, account($0)) })
    }

    private func account(_ id: UserID) -> AccountEntity {
        AccountEntity(
            id: id,
            username: "user\(id)",
            displayName: "",
            url: "http://tessera.test/@user\(id)",
            avatar: "http://tessera.test/a.png",
            header: "http://tessera.test/h.png",
            createdAt: id.createdAt
        )
    }

    func fragmentName(of id: UserID) -> String { "account:\(id)" }
    var fragmentLifetime: Duration { .seconds(10) }
    func fragments(of ids: [UserID]) async throws -> [UserID: [UInt8]] { [:] }
    func account(fragment: [UInt8]) -> AccountEntity? { nil }
    func find(usernames: [String]) async throws -> [String: UserID] { [:] }
    func search(
        _ query: String,
        limit: Int,
        viewer: UserID?
    ) async throws -> [AccountEntity] { [] }

    func relationships(
        of viewer: UserID,
        to ids: [UserID]
    ) async throws -> [RelationshipEntity] { ids.map { RelationshipEntity(id: $0) } }

    func followed(by user: UserID, among targets: [UserID]) async throws -> Set<UserID> {
        Set(targets.filter { follows.contains([user, $0]) })
    }

    func standing(of viewer: UserID, to others: [UserID]) async throws -> ViewerStanding {
        var standing = ViewerStanding(
            followed: try await followed(by: viewer, among: others),
            blocking: Set(others.filter { blocks.contains([viewer, $0]) }),
            blockedBy: Set(others.filter { blocks.contains([$0, viewer]) })
        )
        standing.mutedNotifications = Set(others.filter { silenced.contains([viewer, $0]) })
        return standing
    }

    func closeFriendships(
        of viewer: UserID,
        among authors: [UserID]
    ) async throws -> Set<UserID> { [] }

    func restricts(_ user: UserID, _ other: UserID) async throws -> Bool { false }

    func statuses(
        _ ids: [PostID],
        viewer: UserID?,
        by way: VisibilityRules.Way
    ) async throws -> [PostID: StatusEntity] {
        let author = UserID(rawValue: 1 << 16)
        let shown = Set(ids).subtracting(hidden).map { id in
            StatusEntity(
                id: id,
                createdAt: id.createdAt,
                account: account(author),
                content: "",
                visibility: .public,
                url: "http://tessera.test/\(id)"
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

    func revoked(among sessions: [SessionID]) async throws -> Set<SessionID> { [] }

    /// A token is the user's id.
    func verify(_ token: String) async throws -> Authentication? {
        UserID(token).map {
            Authentication(user: $0, session: nil, scopes: Scopes(names: ["read", "write"]))
        }
    }
}
