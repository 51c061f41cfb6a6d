import Contracts
import Crypto
import EventLoops
import HTTP
import JSON
import Logging
import Metrics
import ServiceKit
import TestSupport
import Testing

@Suite struct `A call of another service` {
    private struct Nobody: SessionsClient {
        func verify(_ token: String) async throws -> Authentication? { nil }
        func revoked(among sessions: [SessionID]) async throws -> Set<SessionID> { [] }
    }

    private static let path = "/internal/search/v1/things"
    private static let deadline = Duration.milliseconds(400)

    /// A node that runs the service, and what calls it from another one.
    private final class Pair: @unchecked Sendable {
        // @unchecked: touched on its loop only.
        let caller: ServiceCaller
        let stranger: ServiceCaller
        let metrics: MetricsRegistry
        private(set) var answered = 0
        var answer: @Sendable (Call) async throws -> Response = { _ in .emptyObject }
        private let server: HTTPServer

        init(_ loop: EventLoop) throws {
            let keys = KeyRing.random()
            let metrics = MetricsRegistry()
            self.metrics = metrics
            let box = Box()
            let endpoint = Endpoint(
                .post,
                path,
                operationID: "things",
                summary: "",
                tag: "internal",
                access: .peer,
                body: .raw(limit: 1_000),
                output: .emptyObject
            ) { call in
                guard let pair = box.pair else { throw ServiceError.notFound }
                pair.answered += 1
                return try await pair.answer(call)
            }
            let front = ServiceServer(
                endpoints: [endpoint],
                sessions: Nobody(),
                publicURL: "http://t.example",
                metrics: MetricsRegistry(),
                log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                peers: PeerSecret(keys: keys)
            )
            server = HTTPServer(loop: loop, hooks: front.hooks, handler: front.handle)
            let port = try server.listen(address: "127.0.0.1", port: 0)
            let limits = Self.limits
            func make(_ keys: KeyRing, _ metrics: MetricsRegistry) -> ServiceCaller {
                ServiceCaller(
                    loop: loop,
                    service: .search,
                    address: "http://127.0.0.1:\(port)",
                    secret: PeerSecret(keys: keys),
                    limits: limits,
                    metrics: metrics
                )
            }
            caller = make(keys, metrics)
            stranger = make(.random(), MetricsRegistry())
            box.pair = self
        }

        private static var limits: CircuitBreaker.Limits {
            var limits = CircuitBreaker.Limits()
            limits.failures = 3
            limits.restMilliseconds = 50
            return limits
        }

        func call(_ body: [UInt8] = [1]) async throws -> String? {
            try await caller.call(.post, path, body: body, within: deadline, for: nil)["said"]?
                .string
        }

        func end() async { await server.drain(deadline: .milliseconds(50)) }

        private final class Box: @unchecked Sendable {
            // @unchecked: touched on the loop of its test only.
            weak var pair: Pair?
        }
    }

    private func run(_ body: @escaping @Sendable (Pair) async throws -> Void) async throws {
        try await withLoop { loop in
            let pair = try Pair(loop)
            let result: Result<Void, any Error>
            do {
                result = .success(try await body(pair))
            } catch {
                result = .failure(error)
            }
            await pair.end()
            try result.get()
        }
    }

    @Test func `brings what was sent there and what was answered back`() async throws {
        try await run { pair in
            pair.answer = { call in
                let bytes = try await call.request.body.collect(upTo: 1_000)
                return Response.json { $0.object { $0.field("said", "\(bytes)") } }
            }

            let said = try await pair.call([7, 8])
            #expect(said == "[7, 8]")
        }
    }

    @Test func `is nothing to whoever lacks the installation's secret`() async throws {
        try await run { pair in
            let error = await #expect(throws: ServiceError.self) {
                try await pair.stranger.call(
                    .post,
                    Self.path,
                    body: [1],
                    within: Self.deadline,
                    for: nil
                )
            }

            #expect(error?.code == .notFound)
            #expect(pair.answered == 0)
        }
    }

    @Test func `hands a refusal on as it is, and does not count it as a failure`() async throws {
        try await run { pair in
            pair.answer = { _ in throw ServiceError.invalid("Too blue") }

            for _ in 0..<6 {
                let error = await #expect(throws: ServiceError.self) { try await pair.call() }
                #expect(error?.code == .unprocessable)
                #expect(error?.message == "Validation failed: Too blue")
            }
            #expect(pair.answered == 6)
        }
    }

    @Test func `ends in time where no answer comes`() async throws {
        try await run { pair in
            pair.answer = { call in
                try await call.loop.sleep(for: .seconds(30))
                return .emptyObject
            }

            let error = await #expect(throws: ServiceError.self) { try await pair.call() }

            #expect(error?.code == .unavailable)
            #expect(error?.cause as? HTTPClientError == .timeout)
        }
    }

    @Test func `is not made while the service fails, and is again when it answers`() async throws {
        try await run { pair in
            pair.answer = { _ in throw ServiceError.unavailable() }
            for _ in 0..<3 { await #expect(throws: ServiceError.self) { try await pair.call() } }

            await #expect(throws: ServiceError.self) { try await pair.call() }
            #expect(pair.answered == 3, "the fourth did not go out")
            #expect(pair.metrics.render().contains("service_circuit_open{service=\"search\"} 1"))

            pair.answer = { _ in Response.json { $0.object { $0.field("said", "back") } } }
            var said: String?
            for _ in 0..<100 where said == nil {
                try await EventLoop.current?.sleep(for: .milliseconds(20))
                // Refused until the rest is over.
                said = try? await pair.call()
            }
            #expect(said == "back")
        }
    }
}

@Suite struct `The services of a node` {
    private static func endpoint(
        _ path: String,
        _ access: Endpoint.Access = .open
    ) -> Endpoint {
        Endpoint(
            .get,
            path,
            operationID: String(path.dropFirst()),
            summary: "",
            tag: "test",
            access: access,
            output: .emptyObject
        ) { _ in .emptyObject }
    }

    private static let routes = ServiceRoutes([
        .core: [endpoint("/home")],
        .search: [endpoint("/find"), endpoint("/inside", .peer)],
    ])

    @Test func `answer, and of the others it is said that they are elsewhere`() async throws {
        for endpoint in Self.routes.served(by: [.core]) {
            let answers = try await withLoop { loop in
                let call = Call(
                    request: Request(.get, endpoint.path, loop: loop),
                    authentication: nil,
                    input: Input(),
                    publicURL: ""
                )
                do {
                    _ = try await endpoint.handler(call)
                    return true
                } catch let error as ServiceError {
                    #expect(error.code == .unavailable)
                    return false
                }
            }
            #expect(answers == (endpoint.path == "/home"))
        }
    }

    @Test func `are listed for the balancer, with what nodes ask each other`() {
        let json = String(decoding: Self.routes.jsonBytes, as: UTF8.self)

        #expect(json.contains(#""service":"search","title":"Search""#))
        #expect(json.contains(#""paths":["/find","/inside"]"#))
    }

    @Test func `are described together, without what only nodes may ask`() {
        let document = OpenAPI(
            endpoints: Self.routes.all,
            version: "1",
            serverURL: "",
            samples: []
        ).document
        let text = String(decoding: document, as: UTF8.self)

        #expect(text.contains("/find") && text.contains("/home"))
        #expect(!text.contains("/inside"))
    }
}
