import EventLoops
import HTTP
import ServiceKit
import TestSupport
import Testing

@Suite struct `Input of a call` {
    private func read(
        _ target: String = "/",
        _ contentType: String? = nil,
        _ body: String = "",
        limit: Int = 10_000
    ) async throws -> Input {
        try await withLoop { loop in
            var headers: Headers = [:]
            headers["Content-Type"] = contentType
            let request = Request(
                .post,
                target,
                headers: headers,
                body: RequestBody(bytes: Array(body.utf8)),
                loop: loop
            )
            return try await InputReader.read(request, body: .input(limit: limit))
        }
    }

    private static let form = "application/x-www-form-urlencoded"

    private static let multipart = [
        "--b", "Content-Disposition: form-data; name=\"status\"", "", "hi",
        "--b", "Content-Disposition: form-data; name=\"media_ids[]\"", "", "1",
        "--b", "Content-Disposition: form-data; name=\"media_ids[]\"", "", "2",
        "--b", "Content-Disposition: form-data; name=\"poll[options][]\"", "", "x",
        "--b", "Content-Disposition: form-data; name=\"sensitive\"", "", "true", "--b--", "",
    ].joined(separator: "\r\n")

    @Test(arguments: [
        ("/", form, "status=hi&media_ids[]=1&media_ids[]=2&poll[options][]=x&sensitive=true"),
        (
            "/", form,
            "status=hi&media_ids%5B%5D=1&media_ids%5B%5D=2&poll%5Boptions%5D%5B%5D=x&sensitive=1"
        ),
        ("/", form, "status=hi&media_ids[0]=1&media_ids[1]=2&poll[options][0]=x&sensitive=on"),
        ("/?status=hi&media_ids[]=1&media_ids[]=2&poll[options][]=x&sensitive=t", nil, ""),
        (
            "/", "application/json",
            #"{"status":"hi","media_ids":["1",2],"poll":{"options":["x"]},"sensitive":true}"#
        ),
        (
            "/?status=lost&sensitive=false", "application/json; charset=utf-8",
            #"{"status":"hi","media_ids":["1","2"],"poll":{"options":["x"]},"sensitive":"true"}"#
        ),
        ("/?status=hi", "multipart/form-data; boundary=b", multipart),
    ])
    func `is the same however it is sent`(
        target: String,
        contentType: String?,
        body: String
    ) async throws {
        let input = try await read(target, contentType, body)

        #expect(input.string("status") == "hi")
        #expect(input.strings("media_ids") == ["1", "2"])
        #expect(input.object("poll")?.strings("options") == ["x"])
        #expect(input.bool("sensitive") == true)
    }

    @Test func `objects in lists are told apart as Rack does`() async throws {
        let numbered = try await read(
            "/",
            Self.form,
            "f[1][name]=b&f[1][value]=2&f[0][name]=a&f[0][value]=1&f[10][name]=c"
        )
        let anonymous = try await read(
            "/",
            Self.form,
            "f[][name]=a&f[][value]=1&f[][name]=b&f[][name]=c"
        )

        #expect(numbered.objects("f").map { $0.string("name") } == ["a", "b", "c"])
        #expect(numbered.objects("f").map { $0.string("value") } == ["1", "2", nil])
        #expect(anonymous.objects("f").map { $0.string("name") } == ["a", "b", "c"])
        #expect(anonymous.objects("f").map { $0.string("value") } == ["1", nil, nil])
    }

    @Test func `truth is read as Rails reads it`() async throws {
        let input = try await read(
            "/?a=1&b=0&c=true&d=false&e=&f=off&g=anything&h=F"
        )

        #expect(
            ["a", "b", "c", "d", "f", "g", "h"].map { input.bool($0) }
                == [true, false, true, false, false, true, false]
        )
        #expect(input.bool("e") == nil)
        #expect(input.bool("missing") == nil)
        #expect(input.has("e") && !input.has("missing"))
    }

    @Test func `files keep their bytes and names`() async throws {
        let body = [
            "--b",
            "Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"",
            "Content-Type: image/png", "", "\u{89}PNG", "--b--", "",
        ].joined(separator: "\r\n")

        let input = try await read("/", "multipart/form-data; boundary=b", body)

        #expect(input.file("file")?.filename == "a.png")
        #expect(input.file("file")?.contentType == "image/png")
        #expect(input.file("file")?.bytes == Array("\u{89}PNG".utf8))
        #expect(input.string("file") == nil)
    }

    @Test(arguments: [
        ("application/json", "{", 400), ("application/json", "[1]", 400),
        ("application/json", "\u{22}a\u{22}", 400),
        ("application/json", String(repeating: "[", count: 100_000), 413),
        ("application/json", "{\"a\":" + String(repeating: "[", count: 500) + "}", 400),
        (form, "a=%ff", 400), (form, "a=%zz", 400),
        (form, "a[b][c][d][e][f][g][h][i][j]=1", 400),
        (form, String(repeating: "a", count: 20_000), 413), ("text/xml", "<a/>", 415),
        ("multipart/form-data", "x", 415),
    ])
    func `what cannot be read is refused`(
        contentType: String,
        body: String,
        status: Int
    ) async throws {
        do {
            _ = try await read("/", contentType, body)
            Issue.record("it was read")
        } catch let error as ServiceError {
            #expect(error.code.status.code == status)
        } catch let error as HTTPError {
            #expect(error.status.code == status)
        }
    }

    @Test func `a thousand values under one name are no work`() async throws {
        let form = (0..<1_000).map { "a[]=\($0)" }.joined(separator: "&")
        let deep = (0..<1_000).map { "a[b][\($0)]=1" }.joined(separator: "&")

        let list = try await read("/", Self.form, form, limit: 100_000)
        let object = try await read("/", Self.form, deep, limit: 100_000)

        #expect(list.strings("a").count == 1_000)
        #expect(object.object("a")?.object("b")?.root.count == 1_000)
    }
}
