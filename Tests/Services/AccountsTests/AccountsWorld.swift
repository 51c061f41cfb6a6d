@testable import Accounts
import Contracts
import Crypto
import Database
import EventLoops
import HTTP
import JSON
import Jobs
import Logging
import Memcache
import Metrics
import ServiceKit
import Sharding
import TestSupport
import Testing

/// The service on two real shards and a real memcached, called as a client calls it.
final class AccountsWorld: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    static let publicURL = "http://tessera.test:8080"

    let loop: EventLoop
    let shards: [TestShard]
    let database: Database
    let cache: MemcachedClient
    let service: AccountsService
    let settings: AccountsSettings
    let security: AccountsSecurity
    private let server: ServiceServer
    let workers: Database
    /// Who has what to do with whom, as tests say it.
    let standing = Standings()
    private let runner: JobRunner

    /// Runs `body` in a world of its own.
    static func run(
        settings: AccountsSettings = AccountsSettings(),
        throttle: LoginThrottle = LoginThrottle(
            account: .init(burst: 1_000, recovery: .seconds(1))
        ),
        effects: Bool = true,
        _ body: @escaping @Sendable (AccountsWorld) async throws -> Void
    ) async throws {
        let modules = ["Jobs", "Counters", "Accounts", "Graph", "Posts"]
        let shards = [
            try await TestShard.make(id: "s1", modules: modules),
            try await TestShard.make(id: "s2", modules: modules),
        ]
        try await shards[0].psql("DELETE FROM control.bucket_owner WHERE bucket >= 512")
        try await shards[1].psql("DELETE FROM control.bucket_owner WHERE bucket < 512")
        let memcached = try await MemcachedServer.shared()
        try await withLoop { loop in
            let world = try AccountsWorld(loop, shards, memcached, settings, throttle)
            if effects { world.runner.start() }
            let result: Result<Void, any Error>
            do {
                result = .success(try await body(world))
            } catch {
                result = .failure(error)
            }
            if effects { await world.runner.drain(deadline: .seconds(5)) }
            await world.database.close()
            await world.workers.close()
            try result.get()
        }
    }

    private init(
        _ loop: EventLoop,
        _ shards: [TestShard],
        _ memcached: MemcachedServer,
        _ settings: AccountsSettings,
        _ throttle: LoginThrottle
    ) throws {
        self.loop = loop
        self.shards = shards
        self.settings = settings
        let map = try Self.map(shards)
        database = Database(
            loop: loop,
            map: map,
            settings: DatabaseSettings(user: "app", password: "app-secret")
        )
        workers = Database(
            loop: loop,
            map: map,
            settings: DatabaseSettings(user: "worker", password: "worker-secret")
        )
        cache = Self.cache(loop, memcached)
        security = AccountsSecurity(
            keys: .random(),
            passwords: PasswordHash(cost: .least),
            throttle: throttle
        )
        service = AccountsService(
            loop: loop,
            database: database,
            cache: cache,
            images: PictureShelf(),
            graph: standing,
            recent: nil,
            security: security,
            settings: settings,
            publicURL: Self.publicURL
        )
        server = ServiceServer(
            endpoints: service.endpoints,
            sessions: service.sessions,
            publicURL: Self.publicURL,
            metrics: MetricsRegistry(),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        runner = JobRunner(
            loop: loop,
            database: workers,
            handlers: AccountsService.effects(database: workers, settings: settings),
            metrics: MetricsRegistry(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }

    static func cache(_ loop: EventLoop, _ memcached: MemcachedServer) -> MemcachedClient {
        let nodes = PoolMap(
            nodes: [CacheNode(host: memcached.host, port: UInt16(memcached.port))]
        )
        return MemcachedClient(loop: loop, pools: [.object: nodes, .session: nodes])
    }

    private static func map(_ shards: [TestShard]) throws -> ShardMap {
        let records = try shards.map { shard in
            ShardRecord(
                id: try #require(ShardID(shard.id)),
                members: [.init(host: shard.host, port: shard.port)],
                database: shard.database
            )
        }
        let entries = BucketID.all.map { bucket in
            ShardMap.Entry(shard: records[bucket.rawValue < 512 ? 0 : 1].id)
        }
        return try ShardMap(generation: 1, entries: entries, shards: records)
    }

    func shard(of key: some Routed) -> TestShard { shards[key.bucket.rawValue < 512 ? 0 : 1] }

    // MARK: Calling

    struct Answer: Sendable {
        let status: Int
        let headers: Headers
        let text: String
        var json: JSONValue? { try? JSONReader.parse(text) }

        subscript(_ key: String) -> String? { json?[key]?.string }

        /// The value of a field of a page.
        func field(_ name: String) -> String? {
            guard let field = text.firstRange(of: "name=\"\(name)\"") else { return nil }
            let rest = text[field.upperBound...].prefix { $0 != ">" }
            guard let value = rest.firstRange(of: "value=\"") else { return nil }
            return String(rest[value.upperBound...].prefix { $0 != "\"" })
        }
    }

    func call(
        _ method: Method,
        _ target: String,
        _ form: [(String, String)] = [],
        token: String? = nil,
        headers: Headers = [:]
    ) async throws -> Answer {
        var headers = headers
        if let token { headers["Authorization"] = "Bearer \(token)" }
        var bytes: [UInt8] = []
        if !form.isEmpty {
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            bytes = Array(Self.encode(form).utf8)
        }
        return try await send(method, target, bytes, headers: headers)
    }

    func send(
        _ method: Method,
        _ target: String,
        _ bytes: [UInt8],
        headers: Headers
    ) async throws -> Answer {
        let request = Request(
            method,
            target,
            headers: headers,
            body: RequestBody(bytes: bytes),
            loop: loop
        )
        let response = try await server.handle(request)
        guard case .bytes(let body) = response.body else {
            return Answer(status: response.status.code, headers: response.headers, text: "")
        }
        return Answer(
            status: response.status.code,
            headers: response.headers,
            text: String(decoding: body, as: UTF8.self)
        )
    }

    static func encode(_ form: [(String, String)]) -> String {
        form.map { "\(PercentEncoding.encode($0.0))=\(PercentEncoding.encode($0.1))" }
            .joined(separator: "&")
    }

    // MARK: Builders

    struct Client: Sendable {
        let id: String
        let secret: String
        let redirectURI: String
        /// Of the application by itself.
        let token: String
    }

    func aClient(
        redirectURI: String = RedirectURI.outOfBand,
        name: String = "Test",
        isPublic: Bool = false,
        scopes: String = "read write follow"
    ) async throws -> Client {
        var form = [("client_name", name), ("redirect_uris", redirectURI), ("scopes", scopes)]
        if isPublic { form.append(("token_endpoint_auth_method", "none")) }
        let made = try await call(.post, "/api/v1/apps", form)
        let id = try #require(made["client_id"])
        let secret = try #require(made["client_secret"])
        guard !isPublic else {
            return Client(id: id, secret: "", redirectURI: redirectURI, token: "")
        }
        let token = try await call(
            .post,
            "/oauth/token",
            [
                ("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret),
                ("scope", scopes),
            ]
        )
        return Client(
            id: id,
            secret: secret,
            redirectURI: redirectURI,
            token: try #require(token["access_token"])
        )
    }

    static func signUpForm(
        _ username: String,
        email: String? = nil,
        password: String = "correct horse"
    ) -> [(String, String)] {
        [
            ("username", username), ("email", email ?? "\(username)@example.org"),
            ("password", password), ("agreement", "true"), ("locale", "en"),
        ]
    }

    /// Signs a user up and gives their token.
    func aUser(_ username: String, by client: Client? = nil) async throws -> String {
        let client = if let client { client } else { try await aClient() }
        let answer = try await call(
            .post,
            "/api/v1/accounts",
            Self.signUpForm(username),
            token: client.token
        )
        return try #require(answer["access_token"], "\(answer.text)")
    }

    func id(of token: String) async throws -> UserID {
        let answer = try await call(.get, "/api/v1/accounts/verify_credentials", token: token)
        return try #require(answer["id"].flatMap { UserID($0) }, "\(answer.text)")
    }

    // MARK: Looking

    /// Rows of a query on both shards together.
    func rows(_ sql: String) async throws -> [String] {
        var rows: [String] = []
        for shard in shards {
            rows += try await shard.psql(sql).split(separator: "\n").map(String.init)
        }
        return rows
    }

    /// Waits until the query gives these rows, in any order.
    func wait(for expected: [String], from sql: String) async throws {
        var last: [String] = []
        for _ in 0..<2_400 {
            last = try await rows(sql).sorted()
            if last == expected.sorted() { return }
            try await loop.sleep(for: .milliseconds(25))
        }
        Issue.record("\(sql) gave \(last) and not \(expected)")
    }
}

/// Answers for Graph from memory.
final class Standings: GraphClient, @unchecked Sendable {
    // @unchecked: touched on the world's loop only.
    var known: [UserID: ViewerStanding] = [:]

    func relationships(
        of viewer: UserID,
        to ids: [UserID]
    ) async throws -> [RelationshipEntity] { ids.map { RelationshipEntity(id: $0) } }

    func followed(by user: UserID, among targets: [UserID]) async throws -> Set<UserID> {
        known[user]?.followed.intersection(targets) ?? []
    }

    func standing(of viewer: UserID, to others: [UserID]) async throws -> ViewerStanding {
        known[viewer] ?? ViewerStanding()
    }

    func closeFriendships(
        of viewer: UserID,
        among authors: [UserID]
    ) async throws -> Set<UserID> { [] }

    func restricts(_ user: UserID, _ other: UserID) async throws -> Bool { false }
}

/// Keeps no picture and names an address for each.
private struct PictureShelf: ImageStore {
    func store(_ image: [UInt8], as use: ImageUse, owner: UserID) async throws -> StoredImage {
        let name = Base64URL.encode(Digest.sha256(image).prefix(9))
        return StoredImage(
            url: "\(AccountsWorld.publicURL)/media/\(name)/\(use.rawValue).webp",
            staticURL: "\(AccountsWorld.publicURL)/media/\(name)/\(use.rawValue)-static.webp"
        )
    }
}
