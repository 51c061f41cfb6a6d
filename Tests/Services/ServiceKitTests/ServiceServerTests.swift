import Contracts
import EventLoops
import HTTP
import JSON
import Logging
import Metrics
import Postgres
import ServiceKit
import TestSupport
import Testing

@Suite struct `The gate in front of every handler` {
    private struct Sessions: SessionsClient {
        func revoked(among sessions: [SessionID]) async throws -> Set<SessionID> { [] }

        /// Some tokens are known without waiting.
        func held(_ token: String) -> Authentication? {
            token == "held" ? Self.reader : nil
        }

        private static let reader = Authentication(
            user: UserID(rawValue: 64),
            session: nil,
            scopes: Scopes(names: ["read"])
        )

        func verify(_ token: String) async throws -> Authentication? {
            switch token {
            case "user", "held": Self.reader
            case "app":
                Authentication(user: nil, session: nil, scopes: Scopes(names: ["read", "write"]))
            default: nil
            }
        }
    }

    private static func endpoint(
        _ path: String,
        _ access: Endpoint.Access,
        _ handler: @escaping @Sendable (Call) async throws -> Response = { _ in .emptyObject }
    ) -> Endpoint {
        Endpoint(
            .get,
            path,
            operationID: String(path.dropFirst()),
            summary: "",
            tag: "test",
            access: access,
            output: .emptyObject,
            handler: handler
        )
    }

    private static let endpoints = [
        endpoint("/open", .open), endpoint("/maybe", .optionalUser), endpoint("/app", .app()),
        endpoint("/read", .user(["read:accounts"])), endpoint("/write", .user(["write:media"])),
        endpoint("/peer", .peer),
        endpoint("/down", .open) { _ in throw DatabaseError.unavailable },
        endpoint("/moving", .open) { _ in
            throw DatabaseError.fenced(bucket: 7, hint: "bucket=7 state=fenced epoch=1 next=s2")
        },
        endpoint("/unknown", .open) { _ in throw DatabaseError.outcomeUnknown },
        endpoint("/bug", .open) { _ in
            throw DatabaseError.query(sqlstate: "XX000", message: "secret row")
        },
        endpoint("/oauth", .open) { _ in
            throw ServiceError(.badRequest, "It has been used.", oauth: "invalid_grant")
        },
        endpoint("/tagged", .open) { call in
            Response.json("same").tagged(for: call.request)
        },
    ]

    private func ask(
        _ path: String,
        _ headers: Headers = [:],
        method: HTTP.Method = .get
    ) async throws -> (Response, JSONValue?) {
        try await withLoop { loop in
            let server = ServiceServer(
                endpoints: Self.endpoints,
                sessions: Sessions(),
                publicURL: "http://t.example",
                metrics: MetricsRegistry(),
                log: Logger(label: "test")
            )
            let response = try await server.handle(
                Request(method, path, headers: headers, loop: loop)
            )
            guard case .bytes(let bytes) = response.body else { return (response, nil) }
            return (response, try JSONReader.parse(bytes))
        }
    }

    @Test(arguments: [
        ("/open", "Bearer forged", 200), ("/maybe", nil, 200), ("/maybe", "Bearer user", 200),
        ("/maybe", "Bearer forged", 401), ("/maybe", "Basic dXNlcg==", 401),
        ("/app", "Bearer app", 200), ("/app", nil, 401), ("/read", "bearer  user", 200),
        ("/read", "Bearer app", 422), ("/read", nil, 401), ("/write", "Bearer user", 403),
        ("/read", "Bearer held", 200), ("/write", "Bearer held", 403),
        ("/maybe", "Bearer held", 200),
        ("/peer", "Bearer held", 404), ("/peer", "Bearer user", 404),
        ("/nothing", nil, 404), ("/down", nil, 503), ("/moving", nil, 503),
        ("/unknown", nil, 503), ("/bug", nil, 500),
        ("/oauth", nil, 400),
    ])
    func `lets in whom the endpoint is for`(path: String, token: String?, status: Int) async throws
    {
        var headers: Headers = [:]
        headers["Authorization"] = token

        let (response, json) = try await ask(path, headers)

        #expect(response.status.code == status)
        #expect(response.defaults != nil, "the headers of every answer")
        guard status >= 400 else { return }
        #expect(response.headers["Content-Type"] == "application/problem+json")
        #expect(json?["status"]?.int == status)
        #expect(json?["error"]?.string?.isEmpty == false)
        #expect(response.headers["WWW-Authenticate"] != nil || ![401, 403].contains(status))
        #expect(response.headers["Retry-After"] != nil || status != 503)
        if case .bytes(let bytes) = response.body {
            #expect(!String(decoding: bytes, as: UTF8.self).contains("secret row"))
        }
    }

    @Test func `errors of OAuth have its shape beside ours`() async throws {
        let (_, json) = try await ask("/oauth")

        #expect(json?["error"]?.string == "invalid_grant")
        #expect(json?["error_description"]?.string == "It has been used.")
        #expect(json?["detail"]?.string == "It has been used.")
    }

    @Test func `other pages may ask beforehand`() async throws {
        let (response, _) = try await ask("/read", method: .options)

        #expect(response.status.code == 204)
        #expect(response.headers["Access-Control-Allow-Methods"]?.contains("GET") == true)
        #expect(
            response.headers["Access-Control-Allow-Headers"]?.contains("Authorization") == true
        )
    }

    @Test func `an unchanged answer is not sent again`() async throws {
        let (first, _) = try await ask("/tagged")
        let tag = try #require(first.headers["ETag"])

        let (same, _) = try await ask("/tagged", ["If-None-Match": "W/\(tag), \"x\""])
        let (other, _) = try await ask("/tagged", ["If-None-Match": "\"x\""])

        #expect(same.status.code == 304)
        #expect(other.status.code == 200)
    }

    @Test func `each endpoint is described, with its parameters and refusals`() throws {
        let document = OpenAPI(
            endpoints: [
                Endpoint(
                    .post,
                    "/things/:id",
                    operationID: "makeThing",
                    summary: "Makes it.",
                    tag: "test",
                    access: .user(["write:media"]),
                    inputs: [Parameter("ids", .strings, required: true, "Ids.")],
                    output: .entity("Account")
                ) { _ in .emptyObject }
            ],
            version: "1",
            serverURL: "http://t.example",
            samples: EntitySamples.all
        ).document

        let json = try JSONReader.parse(document)
        let operation = try #require(json["paths"]?["/things/{id}"]?["post"])
        #expect(operation["operationId"]?.string == "makeThing")
        #expect(operation["parameters"]?[0]?["name"]?.string == "id")
        for status in ["200", "400", "401", "403", "404", "409", "422", "503"] {
            #expect(operation["responses"]?[status] != nil, "\(status)")
        }
        let content = operation["requestBody"]?["content"]
        #expect(
            content?["application/json"]?["schema"]?["properties"]?["ids"]?["type"]?.string
                == "array"
        )
        let account = json["components"]?["schemas"]?["Account"]
        #expect(account?["properties"]?["last_status_at"]?["type"]?[1]?.string == "null")
        #expect(account?["required"]?.array?.count ?? 0 > 25)
    }
}

@Suite struct `Pages` {
    @Test(arguments: [
        ("", 20, Int64.max, Int64(0), false), ("limit=7", 7, .max, 0, false),
        ("limit=1000", 40, .max, 0, false), ("limit=0", 1, .max, 0, false),
        ("limit=x", 20, .max, 0, false), ("max_id=9&since_id=3", 20, 9, 3, false),
        ("min_id=5&max_id=9", 20, 9, 5, true), ("max_id=", 20, .max, 0, false),
    ])
    func `are bounded, and a limit is cut and never an error`(
        query: String,
        limit: Int,
        upper: Int64,
        lower: Int64,
        ascending: Bool
    ) throws {
        let page = try PageRequest(Input(Query(parsing: query)))

        #expect(page.limit == limit)
        #expect(page.upper == upper && page.lower == lower)
        #expect(page.isAscending == ascending)
    }

    @Test(arguments: ["max_id=x", "min_id=-1", "since_id=99999999999999999999"])
    func `cursors that are none are refused`(query: String) throws {
        #expect(throws: ServiceError.self) { try PageRequest(Input(Query(parsing: query))) }
    }
}
