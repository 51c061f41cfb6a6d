import HTTP
import Testing

@testable import Media

struct MediaFileTests {
    @Test func `a file has validators, and a copy that is known is not sent again`() async throws {
        try await MediaWorld.run { world in
            let (_, path) = try await world.aMedium()
            let first = try await world.call(.get, path)
            let tag = try #require(first.headers["ETag"])
            let date = try #require(first.headers["Last-Modified"])

            #expect(first.headers["Cache-Control"] == "public, max-age=31536000, immutable")
            #expect(first.headers["Accept-Ranges"] == "bytes")
            for known in [tag, "\"x\", \(tag)", "W/\(tag)", "*"] {
                let again = try await world.call(.get, path, headers: ["If-None-Match": known])
                #expect(again.status == 304, "\(known)")
                #expect(again.headers["ETag"] == tag)
                #expect(again.bytes.isEmpty)
            }
            let since = try await world.call(.get, path, headers: ["If-Modified-Since": date])
            #expect(since.status == 304)
            let both = try await world.call(
                .get,
                path,
                headers: ["If-None-Match": "\"other\"", "If-Modified-Since": date]
            )
            #expect(both.status == 200, "the tag decides where both are sent")
            let old = "Sat, 01 Jan 2000 00:00:00 GMT"
            let stale = try await world.call(.get, path, headers: ["If-Modified-Since": old])
            #expect(stale.status == 200)
        }
    }

    @Test func `ranges are cut as asked`() async throws {
        try await MediaWorld.run { world in
            let (_, path) = try await world.aMedium()
            let whole = try await world.call(.get, path)
            let length = whole.bytes.count

            for (header, range) in [
                ("bytes=0-0", 0..<1), ("bytes=5-9", 5..<10), ("bytes=100-", 100..<length),
                ("bytes=-7", length - 7..<length), ("bytes=0-99999999", 0..<length),
                ("bytes=-99999999", 0..<length),
            ] {
                let part = try await world.call(.get, path, headers: ["Range": header])
                #expect(part.status == 206, "\(header)")
                #expect(part.bytes == Array(whole.bytes[range]), "\(header)")
                #expect(
                    part.headers["Content-Range"]
                        == "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(length)"
                )
            }
            for header in ["bytes=\(length)-", "bytes=99999999999999999999-", "bytes=-0"] {
                let part = try await world.call(.get, path, headers: ["Range": header])
                #expect(part.status == 416, "\(header)")
                #expect(part.headers["Content-Range"] == "bytes */\(length)")
            }
            for header in [
                "bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=", "bytes",
            ] {
                let all = try await world.call(.get, path, headers: ["Range": header])
                #expect(all.status == 200, "\(header)")
                #expect(all.bytes.count == length)
            }
            let tag = try #require(whole.headers["ETag"])
            for (condition, status) in [(tag, 206), ("\"other\"", 200)] {
                let headers: Headers = ["Range": "bytes=0-1", "If-Range": condition]
                #expect(try await world.call(.get, path, headers: headers).status == status)
            }
        }
    }

    @Test func `other names are not there`() async throws {
        try await MediaWorld.run { world in
            let (_, path) = try await world.aMedium()
            let name = String(path.split(separator: "/")[1])

            for wrong in [
                "/media/\(name)/original.png", "/media/\(name)/other.jpg", "/media/\(name)/",
                "/media/\(name)/original.jpg.jpg", "/media/\(name)/..%2foriginal.jpg",
                "/media/%2e%2e/original.jpg", "/media/..%2f..%2fetc/passwd",
                "/media/x-1/original.jpg",
                "/media/\(name.dropLast())2/original.jpg", "/media/\(name)0/original.jpg",
                "/media/\(name.uppercased())/original.jpg", "/media/\(name)/original.jpg%00",
                "/media/\(name.dropLast(2))-+1/original.jpg",
                "/media/\(name.dropLast(2))-01/original.jpg",
            ] where wrong.lowercased() != path {
                let status = try await world.call(.get, wrong).status
                #expect(status == 404 || status == 400, "\(wrong)")
            }
        }
    }

    @Test func `dates are written and read as HTTP has them`() {
        #expect(HTTPDate.text(seconds: 784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(HTTPDate.seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 784_111_777)
        for wrong in [
            "", "yesterday", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Foo 1994 08:49:37 GMT",
        ] {
            #expect(HTTPDate.seconds(wrong) == nil)
        }
    }

    @Test func `names are drawn and read`() {
        let name = MediumName.fresh()

        #expect(MediumName(name.text) == name)
        #expect(name.random.utf8.count == 32)
        #expect(MediumName.fresh() != name)
        #expect(name.objects.count == 20)
    }
}
