import Contracts
import Crypto
import Database
import EventLoops
import Feed
import Graph
import HTTP
import JSON
import Jobs
import Logging
import Metrics
import Postgres
import Posts
import Search
import ServiceKit
import Sharding
import Shards
import TestSupport

@testable import Accounts

/// The services of an app node on two real shards, behind their routes, without caches: what they show is decided
/// for each request. Effects are in the hands of the test.
final class VisibilityWorld: @unchecked Sendable {
    // @unchecked: used on its loop only.
    static let publicURL = "http://tessera.test"

    let loop: EventLoop
    let cluster: TestCluster
    let app: Database
    let worker: Database
    let users: [UserID]
    let leak = OpenLeak()
    private let moderator: UserID
    private let accounts: AccountsService
    private let feed: FeedService
    private let server: ServiceServer
    private let handlers: [any EffectHandler]

    private init(_ cluster: TestCluster, _ app: Database, _ worker: Database, people: Int) {
        self.cluster = cluster
        self.app = app
        self.worker = worker
        loop = app.loop
        users = (0..<people).map { Self.id($0, of: cluster) }
        moderator = Self.id(people, of: cluster)
        let silence = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let graph = LeakyGraph(real: GraphDirectory(database: app), leak: leak)
        accounts = AccountsService(
            loop: loop,
            database: app,
            cache: NoCache(),
            images: Nothing(),
            graph: graph,
            recent: nil,
            security: AccountsSecurity(
                keys: .random(),
                passwords: PasswordHash(cost: .least),
                throttle: LoginThrottle()
            ),
            settings: AccountsSettings(),
            publicURL: Self.publicURL
        )
        let known = LeakyAccounts(real: accounts.directory, leak: leak)
        let relations = GraphService(database: app, accounts: known, recent: nil, drop: nil)
        let posts = Self.posts(app, known, graph)
        feed = FeedService(
            loop: loop,
            database: app,
            posts: LeakyPosts(real: posts.client, leak: leak),
            pages: nil,
            interactions: nil,
            logger: silence
        )
        let search = SearchService(
            accounts: known,
            posts: posts.client,
            publicURL: Self.publicURL
        )
        server = ServiceServer(
            endpoints: accounts.endpoints + relations.endpoints + posts.endpoints
                + feed.endpoints + search.endpoints,
            sessions: Nothing(),
            publicURL: Self.publicURL,
            metrics: MetricsRegistry(),
            log: silence
        )
        let work = Self.posts(worker, accounts.directory, GraphDirectory(database: worker))
        handlers =
            work.effects + GraphService.effects(database: worker, drop: nil)
            + FeedService.effects(
                database: worker,
                posts: work.client,
                drop: nil,
                threshold: 1_000
            )
    }

    private static func posts(
        _ database: Database,
        _ accounts: any AccountsClient,
        _ graph: any GraphClient
    ) -> PostsService {
        PostsService(
            database: database,
            cache: NoCache(),
            accounts: accounts,
            graph: graph,
            media: Nothing(),
            pages: nil,
            interactions: nil,
            publicURL: publicURL
        )
    }

    static func run(
        people: Int,
        _ body: @escaping @Sendable (VisibilityWorld) async throws -> Void
    ) async throws {
        let cluster = try await TestCluster.make(
            shards: 2,
            modules: ["Counters", "Jobs", "ServiceKit", "Accounts", "Graph", "Posts", "Feed"]
        )
        try await cluster.run { app, worker in
            let world = VisibilityWorld(cluster, app, worker, people: people)
            let result: Result<Void, any Error>
            do {
                try await world.moveIn()
                result = .success(try await body(world))
            } catch {
                result = .failure(error)
            }
            world.feed.stop()
            try result.get()
        }
    }

    // MARK: People

    private static func id(_ number: Int, of cluster: TestCluster) -> UserID {
        let shards = cluster.map.shards.map(\.id)
        let own = cluster.map.buckets(of: shards[number % shards.count])
        return UserID(
            rawValue: HybridClock.id(
                reading: Int64(number + 1) << 20,
                bucket: own[number % own.count]
            )
        )
    }

    static func name(_ number: Int) -> String { "person\(number)x" }

    func moveIn() async throws {
        for (number, id) in (users + [moderator]).enumerated() {
            let name = ClaimedName(try Username(reading: Self.name(number)))
            try await app.write(
                on: id,
                [
                    """
                    INSERT INTO accounts.account (bucket, id, username, username_folded, role)
                    VALUES (\(id.bucket), \(id), \(name.text), \(name.text),
                        \(id == moderator ? Int16(10) : Int16(0)))
                    """
                ]
            )
            try await app.write(
                on: name,
                [
                    """
                    INSERT INTO accounts.name_claim (bucket, kind, name, user_id, decision, held)
                    VALUES (\(name.bucket), 1, \(name.text), \(id), \(id), true)
                    """
                ]
            )
        }
    }

    func restrain(_ user: Int, _ restraint: Restraint) async throws {
        try await accounts.restrain(users[user], restraint, by: moderator)
    }

    // MARK: Asking

    struct Answer {
        let status: Int
        let headers: Headers
        let body: [UInt8]

        var json: JSONValue? { try? JSONReader.parse(body) }

        /// The ids of a list of entities, in its order.
        var ids: [Int64] {
            json?.array?.compactMap { $0["id"]?.string.flatMap { Int64($0) } } ?? []
        }

        var posts: [PostID] { ids.map { PostID(rawValue: $0) } }

        /// The path and query of the next page, and every cursor that the answer tells.
        var next: String? {
            guard let link = headers["Link"], let end = link.firstRange(of: ">; rel=\"next\"")
            else {
                return nil
            }
            return String(link[..<end.lowerBound].dropFirst(VisibilityWorld.publicURL.count + 1))
        }

        var cursors: [Int64] {
            (headers["Link"] ?? "").split(separator: "_id=").dropFirst()
                .compactMap { Int64($0.prefix { $0.isNumber }) }
        }

        /// What tells a stranger why there is no answer: all of it but the number of the request.
        var refusal: String {
            "\(status) \(json?["error"]?.string ?? "") \(json?["detail"]?.string ?? "")"
                + " \(headers["Link"] ?? "") \(headers["ETag"] ?? "")"
        }
    }

    func ask(
        _ method: Method,
        _ target: String,
        as user: Int?
    ) async throws -> Answer {
        var headers: Headers = [:]
        if let user { headers["Authorization"] = "Bearer \(users[user])" }
        let request = Request(
            method,
            target,
            headers: headers,
            body: RequestBody(bytes: []),
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

    /// All pages of a list, by its links.
    func whole(_ target: String, as user: Int?, limit: Int) async throws -> (
        ids: [Int64], cursors: Set<Int64>, status: Int
    ) {
        var ids: [Int64] = []
        var cursors: Set<Int64> = []
        var next: String? = target + (target.contains("?") ? "&" : "?") + "limit=\(limit)"
        var status = 200
        while let page = next, ids.count < 1_000 {
            let answer = try await ask(.get, page, as: user)
            status = answer.status
            ids += answer.ids
            cursors.formUnion(answer.cursors)
            next = answer.next
        }
        return (ids, cursors, status)
    }

    // MARK: Effects

    private struct Due: RowDecodable {
        let effect: ClaimedEffect

        init(row: inout Row) throws(DatabaseError) {
            let owner: Int16 = try row.next()
            let id: Int64 = try row.next()
            let kind: String = try row.next()
            let version: Int16 = try row.next()
            let payload: String = try row.next()
            guard let bucket = BucketID(rawValue: Int(owner)) else {
                throw .decoding("bucket \(owner)")
            }
            effect = ClaimedEffect(
                kind: kind,
                version: version,
                owner: bucket,
                id: id,
                payload: Array(payload.utf8),
                createdAt: .now
            )
        }
    }

    /// Runs everything that is due until nothing is, in an order drawn from the generator and now and then twice.
    func runEffects(_ random: inout some RandomNumberGenerator) async throws {
        while true {
            var due: [ClaimedEffect] = []
            for shard in cluster.map.shards.map(\.id) {
                let rows = try await worker.write(
                    onShard: shard,
                    ["DELETE FROM jobs.outbox RETURNING bucket, id, kind, version, payload::text"]
                )
                due += try rows[0].decode(as: Due.self).map(\.effect)
            }
            guard !due.isEmpty else { return }
            due.sort { ($0.id, $0.kind) < ($1.id, $1.kind) }
            due += due.filter { _ in Int.random(in: 0..<10, using: &random) == 0 }
            due.shuffle(using: &random)
            for effect in due {
                // Nobody here is told of anything.
                guard let handler = handlers.first(where: { $0.kind == effect.kind }) else {
                    continue
                }
                try await handler.handle(effect)
            }
        }
    }
}

/// What this world has none of: pictures and photos; and tokens, which are the ids of their users.
private struct Nothing: ImageStore, MediaClient, SessionsClient {
    struct NotHere: Error {}

    func store(_ image: [UInt8], as use: ImageUse, owner: UserID) async throws -> StoredImage {
        throw NotHere()
    }

    func attachable(
        _ ids: [MediaID],
        owner: UserID
    ) async throws -> [MediaID: MediaAttachmentEntity] { [:] }

    func attachments(_ ids: [MediaID]) async throws -> [MediaID: MediaAttachmentEntity] { [:] }

    func attachments(of posts: [PostID]) async throws -> [MediaID: MediaAttachmentEntity] { [:] }

    func describe(
        _ id: MediaID,
        owner: UserID,
        description: String?,
        focus: MediaAttachmentEntity.Focus?
    ) async throws {}

    func revoked(among sessions: [SessionID]) async throws -> Set<SessionID> { [] }

    func verify(_ token: String) async throws -> Authentication? {
        UserID(token).map {
            Authentication(user: $0, session: nil, scopes: Scopes(names: ["read", "write"]))
        }
    }
}
