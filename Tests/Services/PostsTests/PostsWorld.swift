import Contracts
import Database
import EventLoops
import HTTP
import JSON
import Jobs
import Logging
import Memcache
import Metrics
import Postgres
import ServiceKit
import Sharding
import Shards
import TestSupport

@testable import Posts

/// Two real shards, a real memcached if asked for, and the Posts service on one loop behind its routes.
///
/// Accounts, Graph and Media are answered from memory: everybody exists, nobody follows anybody unless told.
final class PostsWorld: @unchecked Sendable {
    // @unchecked: used on its loop only.
    let loop: EventLoop
    let database: Database
    let service: PostsService
    let neighbours: Neighbours
    let server: ServiceServer
    let shards: [TestShard]

    private init(loop: EventLoop, shards: [TestShard]) throws {
        self.loop = loop
        self.shards = shards
        let records = shards.map { shard in
            ShardRecord(
                id: ShardID(shard.id)!,
                members: [.init(host: shard.host, port: shard.port)],
                database: shard.database
            )
        }
        // Even buckets live on the first shard, odd ones on the second.
        let entries = BucketID.all.map { bucket in
            ShardMap.Entry(shard: records[Int(bucket.rawValue) % records.count].id)
        }
        database = Database(
            loop: loop,
            map: try ShardMap(generation: 1, entries: entries, shards: records),
            settings: Self.settings("app")
        )
        neighbours = Neighbours()
        service = PostsService(
            database: database,
            cache: NoCache(),
            accounts: neighbours,
            graph: neighbours,
            media: neighbours,
            pages: nil,
            interactions: nil,
            publicURL: "http://tessera.test"
        )
        server = ServiceServer(
            endpoints: service.endpoints,
            sessions: neighbours,
            publicURL: "http://tessera.test",
            metrics: MetricsRegistry(),
            log: Logger(label: "test")
        )
    }

    static func run(_ body: @escaping @Sendable (PostsWorld) async throws -> Void) async throws {
        let shards = [
            try await TestShard.make(id: "s1", modules: modules),
            try await TestShard.make(id: "s2", modules: modules),
        ]
        try await withLoop { loop in
            let world = try PostsWorld(loop: loop, shards: shards)
            let result: Result<Void, any Error>
            do { result = .success(try await body(world)) } catch { result = .failure(error) }
            await world.database.close()
            try result.get()
        }
    }

    static func settings(_ role: String) -> DatabaseSettings {
        var settings = DatabaseSettings(user: role, password: "\(role)-secret")
        settings.adjust = {
            // A busy machine is no failure.
            $0.statementTimeout = .seconds(30)
            $0.acquireTimeout = .seconds(30)
        }
        return settings
    }

    private static let modules = ["Counters", "Jobs", "ServiceKit", "Posts"]

    // MARK: People

    /// A user whose bucket is on the first (even) or second (odd) shard.
    func aUser(_ number: Int, onShard shard: Int = 0) -> UserID {
        let bucket = BucketID(rawValue: (number * 2 + shard) % BucketID.count)!
        return UserID(rawValue: HybridClock.id(reading: Int64(number) << 20, bucket: bucket))
    }

    func aPhoto(of owner: UserID, _ number: Int = 1) -> MediaID {
        let id = MediaID(
            rawValue: HybridClock.id(reading: Int64(number) << 30, bucket: owner.bucket)
        )
        neighbours.photos[id] = owner
        return id
    }

    // MARK: Asking

    struct Answer {
        let status: Int
        let headers: Headers
        let body: [UInt8]

        var json: JSONValue { get throws { try JSONReader.parse(body) } }
        var id: PostID { get throws { try require(json["id"]?.string.flatMap { PostID($0) }) } }
    }

    func ask(
        _ method: Method,
        _ target: String,
        _ form: String = "",
        as user: UserID? = nil,
        scopes: String = "read write",
        key: String? = nil
    ) async throws -> Answer {
        var headers: Headers = [:]
        if let user {
            headers["Authorization"] = "Bearer \(user):" + scopes.replacing(" ", with: "+")
        }
        if !form.isEmpty { headers["Content-Type"] = "application/x-www-form-urlencoded" }
        if let key { headers["Idempotency-Key"] = key }
        let request = Request(
            method,
            target,
            headers: headers,
            body: RequestBody(bytes: Array(form.utf8)),
            loop: loop
        )
        let response = try await server.handle(request)
        var body: [UInt8] = []
        switch response.body {
        case .bytes(let bytes): body = bytes
        case .part(let bytes, let range): body = Array(bytes[range])
        case .none, .stream, .webSocket: break
        }
        return Answer(status: response.status.code, headers: response.headers, body: body)
    }

    func post(_ form: String, by user: UserID) async throws -> PostID {
        let answer = try await ask(.post, "/api/v1/statuses", form, as: user)
        guard answer.status == 200 else { throw Refused(answer) }
        return try answer.id
    }

    struct Refused: Error, CustomStringConvertible {
        let description: String

        init(_ answer: Answer) {
            description = "\(answer.status) " + String(decoding: answer.body, as: UTF8.self)
        }
    }

    // MARK: Effects

    /// Runs what the outboxes hold through the service's handlers, in the order given, and empties them.
    func runEffects(shuffled: Bool = false, twice: Bool = false) async throws {
        var effects: [ClaimedEffect] = []
        for shard in shards {
            let rows = try await shard.psql(
                """
                SELECT bucket || '|' || id || '|' || version || '|' || kind || '|' || payload
                FROM jobs.outbox ORDER BY id
                """
            )
            effects += rows.split(separator: "\n").map { line in
                let parts = line.split(separator: "|", maxSplits: 4).map(String.init)
                return ClaimedEffect(
                    kind: parts[3],
                    version: Int16(parts[2])!,
                    owner: BucketID(rawValue: Int(parts[0])!)!,
                    id: Int64(parts[1])!,
                    payload: Array(parts[4].utf8)
                )
            }
            try await shard.psql("DELETE FROM jobs.outbox")
        }
        if twice { effects += effects }
        if shuffled { effects.shuffle() }
        let due = effects
        try await asWorker { service in
            for effect in due {
                try await service.effects.first { $0.kind == effect.kind }?.handle(effect)
            }
        }
    }

    /// Hands out the service with the rights of a worker, who applies mirrors.
    func asWorker(_ body: (PostsService) async throws -> Void) async throws {
        let worker = Database(
            loop: loop,
            map: database.map,
            settings: Self.settings("worker")
        )
        let service = PostsService(
            database: worker,
            cache: NoCache(),
            accounts: neighbours,
            graph: neighbours,
            media: neighbours,
            pages: nil,
            interactions: nil,
            publicURL: "http://tessera.test"
        )
        let result: Result<Void, any Error>
        do { result = .success(try await body(service)) } catch { result = .failure(error) }
        await worker.close()
        try result.get()
    }

    func outbox(_ kind: String) async throws -> Int {
        var count = 0
        for shard in shards {
            let text = try await shard.psql(
                "SELECT count(*) FROM jobs.outbox WHERE kind = '\(kind)'"
            )
            count += Int(text) ?? 0
        }
        return count
    }
}

func require<T>(_ value: T?) throws -> T {
    guard let value else { throw Missing() }
    return value
}

struct Missing: Error {}

/// The other services, from memory.
final class Neighbours: AccountsClient, GraphClient, MediaClient, SessionsClient,
    @unchecked Sendable
{
    // @unchecked: used on the world's loop only.
    var photos: [MediaID: UserID] = [:]
    var follows: Set<[UserID]> = []
    var blocks: Set<[UserID]> = []
    /// Who counts whom among close friends, and who restricts whom.
    var closeFriends: Set<[UserID]> = []
    var restrictions: Set<[UserID]> = []
    var privateAccounts: Set<UserID> = []
    var names: [String: UserID] = [:]

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
            locked: privateAccounts.contains(id),
            createdAt: id.createdAt
        )
    }

    func fragmentName(of id: UserID) -> String { "account:\(id)" }

    var fragmentLifetime: Duration { .seconds(10) }

    func fragments(of ids: [UserID]) async throws -> [UserID: [UInt8]] {
        Dictionary(uniqueKeysWithValues: Set(ids).map { ($0, Array("\($0)".utf8)) })
    }

    func account(fragment: [UInt8]) -> AccountEntity? {
        UserID(String(decoding: fragment, as: UTF8.self)).map(account)
    }

    func find(usernames: [String]) async throws -> [String: UserID] {
        names.filter { usernames.contains($0.key) }
    }

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
        ViewerStanding(
            followed: try await followed(by: viewer, among: others),
            blocking: Set(others.filter { blocks.contains([viewer, $0]) }),
            blockedBy: Set(others.filter { blocks.contains([$0, viewer]) })
        )
    }

    func closeFriendships(
        of viewer: UserID,
        among authors: [UserID]
    ) async throws -> Set<UserID> { Set(authors.filter { closeFriends.contains([$0, viewer]) }) }

    func restricts(_ user: UserID, _ other: UserID) async throws -> Bool {
        restrictions.contains([user, other])
    }

    func attachable(
        _ ids: [MediaID],
        owner: UserID
    ) async throws -> [MediaID: MediaAttachmentEntity] {
        try await attachments(ids.filter { photos[$0] == owner })
    }

    func attachments(_ ids: [MediaID]) async throws -> [MediaID: MediaAttachmentEntity] {
        Dictionary(
            uniqueKeysWithValues: ids.filter { photos[$0] != nil }.map { id in
                let size = MediaAttachmentEntity.Size(width: 4, height: 3)
                return (
                    id,
                    MediaAttachmentEntity(
                        id: id,
                        url: "http://tessera.test/media/\(id)",
                        previewURL: "http://tessera.test/media/\(id)/small",
                        original: size,
                        small: size
                    )
                )
            }
        )
    }

    func attachments(of posts: [PostID]) async throws -> [MediaID: MediaAttachmentEntity] { [:] }

    func describe(
        _ id: MediaID,
        owner: UserID,
        description: String?,
        focus: MediaAttachmentEntity.Focus?
    ) async throws {}

    func revoked(among sessions: [SessionID]) async throws -> Set<SessionID> { [] }

    /// A token is the user's id and the scopes: `123:read+write`.
    func verify(_ token: String) async throws -> Authentication? {
        let parts = token.split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2, let user = UserID(parts[0]),
            let scopes = Scopes(parsing: parts[1].replacing("+", with: " "))
        else { return nil }
        return Authentication(user: user, session: nil, scopes: scopes)
    }
}
