import EventLoops
import HTTP
import Testing

struct RouterTests {
    private static var router: Router {
        var router = Router()
        router.add(.get, "/") { _ in .text("root") }
        router.add(.get, "/api/v1/accounts/verify") { _ in .text("verify") }
        router.add(.get, "/api/v1/accounts/:id") { .text("account \($0.parameters["id"]!)") }
        router.add(.delete, "/api/v1/accounts/:id") { _ in .text("deleted") }
        router.add(.get, "/api/v1/accounts/:id/statuses") { .text("of \($0.parameters["id"]!)") }
        router.add(.get, "/media/*path") { .text("media \($0.parameters["path"]!)") }
        router.add(.post, "/large", bodyLimit: 10) { request in
            .text("\(try await request.body.collect(upTo: .max).count)")
        }
        return router
    }

    private func answer(
        _ method: Method,
        _ target: String,
        body: [UInt8] = []
    ) async throws -> Response {
        let group = LoopGroup(count: 1)
        defer { group.stopAndJoin() }
        let loop = group.loops[0]
        return try await loop.run {
            try await RouterTests.router.handle(
                Request(method, target, body: RequestBody(bytes: body), loop: loop)
            )
        }
    }

    private func text(_ response: Response) -> String {
        guard case .bytes(let bytes) = response.body else { return "" }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test(arguments: [
        ("/", "root"), ("/?a=b", "root"),
        ("/api/v1/accounts/verify", "verify"),
        ("/api/v1/accounts/17", "account 17"),
        ("/api/v1/accounts/17/", "account 17"),
        ("/api/v1/accounts/17?with=query", "account 17"),
        ("/api/v1/accounts/a%2Fb%20c", "account a/b c"),
        ("/api/v1/accounts/verify/statuses", "of verify"),
        ("/media/a/b/c.jpg", "media a/b/c.jpg"),
        ("/media", "media "),
    ])
    func `a path leads to its route`(target: String, expected: String) async throws {
        let response = try await answer(.get, target)

        #expect(text(response) == expected)
    }

    @Test(arguments: [
        "/none", "/api", "/api/v1/accounts/1/none", "/api/v1/accounts//statuses", "//",
    ])
    func `a path without route is not found`(target: String) async throws {
        await #expect(throws: HTTPError(404, "There is nothing at this path.")) {
            _ = try await answer(.get, target)
        }
    }

    @Test(arguments: ["/api/v1/accounts/%zz", "/api/v1/accounts/%ff", "/api/v1/accounts/a%00"])
    func `a parameter that is not text is refused`(target: String) async throws {
        await #expect(throws: HTTPError(400, "Malformed percent-encoding in the path.")) {
            _ = try await answer(.get, target)
        }
    }

    @Test func `a method without handler is told which are allowed`() async throws {
        await #expect(throws: HTTPError.self) {
            do {
                _ = try await answer(.put, "/api/v1/accounts/1")
            } catch let error as HTTPError {
                #expect(error.status == 405)
                #expect(error.headers["Allow"] == "GET, HEAD, DELETE, OPTIONS")
                throw error
            }
        }
        let options = try await answer(.options, "/api/v1/accounts/1")
        #expect(options.status == 204)
        #expect(options.headers["Allow"] == "GET, HEAD, DELETE, OPTIONS")
    }

    @Test func `a route may bound its body`() async throws {
        let small = try await answer(.post, "/large", body: [1, 2, 3])
        await #expect(throws: HTTPError(413, "The body is larger than 10 bytes.")) {
            _ = try await answer(.post, "/large", body: [UInt8](repeating: 0, count: 11))
        }

        #expect(text(small) == "3")
    }
}
