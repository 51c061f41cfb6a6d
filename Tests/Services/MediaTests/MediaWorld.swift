import Contracts
import Crypto
import Database
import EventLoops
import Foundation
import HTTP
import JSON
import Jobs
import Logging
import Metrics
import Objects
import ServiceKit
import Sharding
import TestSupport
import Testing

@testable import Media

/// The service on a real shard and a store of its own, called as a client calls it.
final class MediaWorld: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    static let publicURL = "http://tessera.test"

    let loop: EventLoop
    let shard: TestShard
    let root: String
    let service: MediaService
    let objects: DirectoryStore
    let collector: MediaCollector
    let workers: Database
    let server: ServiceServer
    /// What the nodes of the installation know each other by.
    let peers = PeerSecret(keys: .random())
    private let database: Database

    /// Runs `body` in a world of its own.
    static func run(
        storeOn makeRoot: @Sendable (String) throws -> Void = { _ in },
        _ body: @escaping @Sendable (MediaWorld) async throws -> Void
    ) async throws {
        let shard = try await TestShard.make(modules: ["Jobs", "ServiceKit", "Media"])
        let root = "\(NSTemporaryDirectory())/tessera-media-world-\(UInt64.random(in: 0 ... .max))"
        try makeRoot(root)
        // What is left in /tmp after a failure harms no other test.
        defer { try? FileManager.default.removeItem(atPath: root) }
        try await withLoop { loop in
            let world = try MediaWorld(loop, shard, root)
            let result: Result<Void, any Error>
            do {
                result = .success(try await body(world))
            } catch {
                result = .failure(error)
            }
            await world.database.close()
            await world.workers.close()
            try result.get()
        }
    }

    private init(_ loop: EventLoop, _ shard: TestShard, _ root: String) throws {
        self.loop = loop
        self.shard = shard
        self.root = root
        let record = ShardRecord(
            id: try #require(ShardID(shard.id)),
            members: [.init(host: shard.host, port: shard.port)],
            database: shard.database
        )
        let map = try ShardMap(
            generation: 1,
            entries: BucketID.all.map { _ in ShardMap.Entry(shard: record.id) },
            shards: [record]
        )
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
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        objects = try DirectoryStore(
            root: root,
            offload: Offload(threads: 2, queueLimit: 256, name: "objects")
        )
        service = MediaService(
            database: database,
            objects: objects,
            images: ImageProcessor(offload: Offload(threads: 2, queueLimit: 16, name: "images")),
            publicURL: Self.publicURL
        )
        collector = MediaCollector(database: workers, objects: objects, logger: log)
        server = ServiceServer(
            endpoints: service.endpoints,
            sessions: NamedSessions(),
            publicURL: Self.publicURL,
            metrics: MetricsRegistry(),
            log: log,
            peers: peers
        )
    }

    // MARK: Calling

    struct Answer: Sendable {
        let status: Int
        let headers: Headers
        let bytes: [UInt8]

        var json: JSONValue? { try? JSONReader.parse(bytes) }
        var text: String { String(decoding: bytes, as: UTF8.self) }
        subscript(_ key: String) -> String? { json?[key]?.string }
    }

    func call(
        _ method: HTTP.Method,
        _ target: String,
        _ body: [UInt8] = [],
        user: UserID? = nil,
        headers: Headers = [:]
    ) async throws -> Answer {
        var headers = headers
        if let user { headers["Authorization"] = "Bearer \(user)" }
        let request = Request(
            method,
            target,
            headers: headers,
            body: RequestBody(bytes: body),
            loop: loop
        )
        let response = try await server.handle(request)
        guard case .bytes(let bytes) = response.body else {
            return Answer(status: response.status.code, headers: response.headers, bytes: [])
        }
        return Answer(status: response.status.code, headers: response.headers, bytes: bytes)
    }

    /// A file and fields as a form.
    func upload(
        _ file: [UInt8]?,
        _ fields: [(String, String)] = [],
        name: String = "photo.jpg",
        type: String = "image/jpeg",
        user: UserID = MediaWorld.ann,
        headers: Headers = [:],
        to target: String = "/api/v2/media"
    ) async throws -> Answer {
        let boundary = "limit-\(UInt32.random(in: 0 ... .max))"
        var body: [UInt8] = []
        for (name, value) in fields {
            body += Array(
                "--\(boundary)\r\nContent-Disposition: form-data; name=\"\(name)\"\r\n\r\n".utf8
            )
            body += Array("\(value)\r\n".utf8)
        }
        if let file {
            let head =
                "--\(boundary)\r\nContent-Disposition: form-data; name=\"file\"; "
                + "filename=\"\(name)\"\r\nContent-Type: \(type)\r\n\r\n"
            body += Array(head.utf8) + file + Array("\r\n".utf8)
        }
        body += Array("--\(boundary)--\r\n".utf8)
        var headers = headers
        headers["Content-Type"] = "multipart/form-data; boundary=\(boundary)"
        return try await call(.post, target, body, user: user, headers: headers)
    }

    func upload(
        fixture name: String,
        _ fields: [(String, String)] = [],
        user: UserID = MediaWorld.ann,
        headers: Headers = [:]
    ) async throws -> Answer {
        try await upload(try photo(name), fields, user: user, headers: headers)
    }

    func photo(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: fixture(name))))
    }

    /// A photo of Ann's that is ready.
    func aMedium(_ name: String = "gps.jpg") async throws -> (id: MediaID, path: String) {
        let answer = try await upload(fixture: name)
        #expect(answer.status == 200, "\(answer.text)")
        let id = try #require(answer["id"].flatMap { MediaID($0) })
        return (id, String(try #require(answer["url"]).dropFirst(Self.publicURL.count)))
    }

    /// Carries out an effect as a worker would.
    func run(_ kind: String, post: PostID, media: [MediaID]) async throws {
        try await run(kind, MediaAttachedEffect(post: post, media: media), owner: post)
    }

    func run(_ kind: String, _ payload: some JSONEncodable, owner: some Routed) async throws {
        let bytes = payload.jsonBytes
        let effect = ClaimedEffect(kind: kind, owner: owner.bucket, id: 1, payload: bytes)
        for handler in MediaService.effects(database: workers) where handler.kind == kind {
            try await handler.handle(effect)
        }
    }

    func makeExpired(_ id: MediaID) async throws {
        try await shard.psql(
            "UPDATE media.medium SET expires_at = now() - interval '1 s' WHERE id = \(id.rawValue)"
        )
    }

    /// How many files the store holds.
    func files() -> Int {
        let all = FileManager.default.enumerator(atPath: root)?.allObjects as? [String]
        return all?.count { $0.contains(".") || $0.contains("temporary/") } ?? -1
    }

    static let ann = UserID(rawValue: 1_795_000_000_000 << 16 | 7 << 6 | 1)
    static let bob = UserID(rawValue: 1_795_000_000_000 << 16 | 9 << 6 | 2)
    static func aPost(_ number: Int64 = 1) -> PostID {
        PostID(rawValue: (1_795_000_000_000 + number) << 16 | 7 << 6)
    }
}

/// A token is the id of its user.
private struct NamedSessions: SessionsClient {
    func revoked(among sessions: [SessionID]) async throws -> Set<SessionID> { [] }

    func verify(_ token: String) async throws -> Authentication? {
        guard let user = UserID(token) else { return nil }
        return Authentication(user: user, session: nil, scopes: Scopes(names: ["read", "write"]))
    }
}
