import Contracts
import HTTP
import JSON
import Metrics
import Objects
import ServiceKit
import Sharding
import TestSupport
import Testing

@testable import Media

/// Uploads, attachments and their end, on a real shard.
struct MediaServiceTests {
    // MARK: Uploading

    @Test func `an uploaded photo is described completely, and its files are served`() async throws
    {
        try await MediaWorld.run { world in
            let answer = try await world.upload(
                fixture: "gps.jpg",
                [("description", "Four quarters"), ("focus", "0.5,-0.25")]
            )

            #expect(answer.status == 200)
            let entity = try #require(answer.json)
            #expect(entity["type"]?.string == "image")
            #expect(entity["description"]?.string == "Four quarters")
            #expect(entity["blurhash"]?.string?.utf8.count == 28)
            #expect(entity["meta"]?["original"]?["width"]?.int64 == 900)
            #expect(entity["meta"]?["small"]?["height"]?.int64 == 427)
            #expect(entity["meta"]?["focus"]?["y"]?.double == -0.25)
            for key in ["url", "preview_url"] {
                let url = try #require(entity[key]?.string)
                let file = try await world.call(.get, String(url.dropFirst(19)))
                #expect(file.status == 200)
                #expect(file.headers["Content-Type"] == "image/jpeg")
                #expect(try MetadataBlocks(file.bytes).unexpected == [])
            }
        }
    }

    @Test(
        arguments: [
            "orientation-6.jpg", "location.png", "location.webp", "location.heic", "moving.gif",
            "photo.avif", "cmyk.jpg",
        ]
    )
    func `each kind of picture is taken`(name: String) async throws {
        try await MediaWorld.run { world in
            let answer = try await world.upload(fixture: name)

            #expect(answer.status == 200, "\(answer.text)")
        }
    }

    @Test func `what is no picture is refused, whatever it is called`() async throws {
        try await MediaWorld.run { world in
            for name in ["refused.tiff", "refused.pdf", "refused.jp2", "make.py"] {
                let answer = try await world.upload(fixture: name)
                #expect(answer.status == 422, "\(name): \(answer.text)")
                #expect(answer["error"]?.contains("JPEG") == true)
            }
            let svg = Array("<svg xmlns=\"http://www.w3.org/2000/svg\"/>".utf8)
            #expect(try await world.upload(svg, name: "x.jpg").status == 422)
            #expect(try await world.upload([], name: "x.jpg").status == 422)
            #expect(try await world.upload(nil).status == 422)
            let cut = Array(try world.photo("gps.jpg").prefix(5_000))
            #expect(try await world.upload(cut).status == 422)
            let bomb = try pngBomb(width: 60_000, height: 60_000)
            #expect(try await world.upload(bomb).status == 422)
            #expect(world.files() == 0, "nothing of it is left in the store")
        }
    }

    @Test func `a file beyond the bound is 413`() async throws {
        try await MediaWorld.run { world in
            let large =
                try world.photo("gps.jpg") + Array(repeating: 0, count: MediaLimits.imageBytes)

            #expect(try await world.upload(large).status == 413)
            #expect(world.files() == 0)
        }
    }

    @Test func `fields are checked`() async throws {
        try await MediaWorld.run { world in
            for focus in ["1", "a,b", "1,2,3", "nan,0", "inf,0"] {
                let answer = try await world.upload(fixture: "grey.jpg", [("focus", focus)])
                #expect(answer.status == 422, "\(focus)")
            }
            let edge = try await world.upload(fixture: "grey.jpg", [("focus", "-7, 1e300")])
            #expect(edge.json?["meta"]?["focus"]?["x"]?.double == -1)
            let long = String(repeating: "x", count: 1_501)
            let answer = try await world.upload(fixture: "grey.jpg", [("description", long)])
            #expect(answer.status == 422)
            let other = try await world.call(
                .post,
                "/api/v2/media",
                Array("{}".utf8),
                user: MediaWorld.ann,
                headers: ["Content-Type": "application/json"]
            )
            #expect(other.status == 415)
            #expect(try await world.call(.post, "/api/v2/media").status == 401)
            #expect(world.files() == 3, "only the photo that was taken")
        }
    }

    @Test func `a repeated upload with the same key is the same medium`() async throws {
        try await MediaWorld.run { world in
            let key: Headers = ["Idempotency-Key": "once"]
            let first = try await world.upload(fixture: "grey.jpg", headers: key)
            let second = try await world.upload(fixture: "grey.jpg", headers: key)
            let other = try await world.upload(fixture: "cmyk.jpg", headers: key)

            #expect(first.status == 200)
            #expect(second["id"] == first["id"])
            #expect(other.status == 422)
            #expect(world.files() == 3)
        }
    }

    // MARK: One's own media

    @Test func `only the owner sees and changes a medium, until it is posted`() async throws {
        try await MediaWorld.run { world in
            let (id, _) = try await world.aMedium()
            let path = "/api/v1/media/\(id)"
            let form: Headers = ["Content-Type": "application/x-www-form-urlencoded"]
            let text = Array("description=New&focus=0.1,0.2".utf8)

            #expect(try await world.call(.get, path, user: MediaWorld.ann)["id"] == "\(id)")
            #expect(try await world.call(.get, path, user: MediaWorld.bob).status == 404)
            let theirs = try await world.call(.put, path, text, user: MediaWorld.bob, headers: form)
            #expect(theirs.status == 404)
            let ours = try await world.call(.put, path, text, user: MediaWorld.ann, headers: form)
            #expect(ours["description"] == "New")

            try await world.run(EffectKinds.mediaAttached, post: MediaWorld.aPost(), media: [id])
            let late = try await world.call(.put, path, text, user: MediaWorld.ann, headers: form)
            #expect(late.status == 404)
            #expect(try await world.call(.delete, path, user: MediaWorld.ann).status == 422)
        }
    }

    @Test func `a medium that is given up loses its files`() async throws {
        try await MediaWorld.run { world in
            let (id, file) = try await world.aMedium()

            let answer = try await world.call(.delete, "/api/v1/media/\(id)", user: MediaWorld.ann)
            #expect(answer.status == 200)
            #expect(await world.collector.collect() == 1)
            #expect(try await world.call(.get, file).status == 404)
            #expect(world.files() == 0)
        }
    }

    // MARK: Attaching

    @Test func `ready media of the owner are attachable, others are not`() async throws {
        try await MediaWorld.run { world in
            let (id, _) = try await world.aMedium()

            let own = try await world.service.attachable([id], owner: MediaWorld.ann)
            let foreign = try await world.service.attachable([id], owner: MediaWorld.bob)
            #expect(own[id]?.original?.width == 900)
            #expect(foreign.isEmpty)
            #expect(try await world.service.attachments([id]).keys.contains(id))
        }
    }

    @Test func `attached media do not expire, unattached ones do`() async throws {
        try await MediaWorld.run { world in
            let (kept, keptFile) = try await world.aMedium()
            let (lost, lostFile) = try await world.aMedium()
            try await world.makeExpired(kept)
            try await world.makeExpired(lost)
            try await world.run(EffectKinds.mediaAttached, post: MediaWorld.aPost(), media: [kept])

            #expect(await world.collector.collect() == 1)
            #expect(try await world.call(.get, keptFile).status == 200)
            #expect(try await world.call(.get, lostFile).status == 404)
            #expect(try await world.service.attachable([lost], owner: MediaWorld.ann).isEmpty)
            #expect(await world.collector.collect() == 0, "a tombstone is collected once")
        }
    }

    @Test func `nothing expires while a post may be about to say that it shows it`() async throws {
        try await MediaWorld.run { world in
            let (id, file) = try await world.aMedium()
            try await world.makeExpired(id)
            try await world.shard.psql(
                """
                INSERT INTO jobs.outbox (bucket, id, kind, payload)
                VALUES (\(id.bucket.rawValue), 1, 'media.attached', '{}')
                """
            )

            #expect(await world.collector.collect() == 0)
            #expect(try await world.call(.get, file).status == 200)
        }
    }

    @Test func `a deleted post takes its media along, in whatever order the effects come`()
        async throws
    {
        try await MediaWorld.run { world in
            for order in [
                ["media.attached", "media.detached"], ["media.detached", "media.attached"],
            ] {
                let (id, file) = try await world.aMedium()
                let post = MediaWorld.aPost(id.rawValue % 1_000_000)
                for kind in order + order {
                    try await world.run(kind, post: post, media: [id])
                }

                await world.collector.collect()
                #expect(try await world.call(.get, file).status == 404, "\(order)")
                #expect(try await world.service.attachments([id]).isEmpty)
            }
        }
    }

    @Test func `media that another post shows stay`() async throws {
        try await MediaWorld.run { world in
            let (id, file) = try await world.aMedium()
            try await world.run("media.attached", post: MediaWorld.aPost(1), media: [id])
            try await world.run("media.attached", post: MediaWorld.aPost(2), media: [id])
            try await world.run("media.detached", post: MediaWorld.aPost(1), media: [id])

            #expect(await world.collector.collect() == 0)
            #expect(try await world.call(.get, file).status == 200)
            try await world.run("media.detached", post: MediaWorld.aPost(2), media: [id])
            #expect(await world.collector.collect() == 1)
        }
    }

    @Test func `an upload that never finished is collected with what it stored`() async throws {
        try await MediaWorld.run { world in
            let name = MediumName.fresh()
            let id = try await world.service.store.begin(name, use: .post, owner: MediaWorld.ann)
            try await world.objects.put(try #require(name.object("original.webp")), [1])
            try await world.makeExpired(id)

            #expect(try await world.service.attachments([id]).isEmpty)
            #expect(await world.collector.collect() == 1)
            #expect(world.files() == 0)
        }
    }

    // MARK: Profiles

    @Test func `an avatar is stored for good, and old ones go after a while`() async throws {
        try await MediaWorld.run { world in
            var urls: [String] = []
            for _ in 0..<4 {
                let stored = try await world.service.store(
                    try world.photo("gps.jpg"),
                    as: .avatar,
                    owner: MediaWorld.ann
                )
                urls.append(String(stored.url.dropFirst(MediaWorld.publicURL.count)))
            }
            try await world.shard.psql(
                "UPDATE media.medium SET expires_at = now() WHERE expires_at IS NOT NULL"
            )

            #expect(await world.collector.collect() == 2)
            var statuses: [Int] = []
            for url in urls { statuses.append(try await world.call(.get, url).status) }
            #expect(statuses == [404, 404, 200, 200])
        }
    }

    @Test func `a deleted account's pictures go, and nobody else's`() async throws {
        try await MediaWorld.run { world in
            var urls: [String] = []
            for (use, owner) in [
                (ImageUse.avatar, MediaWorld.ann), (.header, MediaWorld.ann),
                (.avatar, MediaWorld.bob),
            ] {
                let stored = try await world.service.store(
                    try world.photo("gps.jpg"),
                    as: use,
                    owner: owner
                )
                urls.append(String(stored.url.dropFirst(MediaWorld.publicURL.count)))
            }

            for _ in 0..<2 {
                try await world.run(
                    EffectKinds.mediaOwnerGone,
                    UserEffect(user: MediaWorld.ann),
                    owner: MediaWorld.ann
                )
            }

            #expect(await world.collector.collect() == 2)
            var statuses: [Int] = []
            for url in urls { statuses.append(try await world.call(.get, url).status) }
            #expect(statuses == [404, 404, 200])
        }
    }

    @Test func `a node without this service has its pictures cut by one that runs it`() async throws
    {
        try await MediaWorld.run { world in
            let server = HTTPServer(
                loop: world.loop,
                hooks: world.server.hooks,
                handler: world.server.handle
            )
            let port = try server.listen(address: "127.0.0.1", port: 0)
            let remote = RemoteImages(
                caller: ServiceCaller(
                    loop: world.loop,
                    service: .media,
                    address: "http://127.0.0.1:\(port)",
                    secret: world.peers,
                    metrics: MetricsRegistry()
                )
            )

            let stored = try await remote.store(
                try world.photo("gps.jpg"),
                as: .avatar,
                owner: MediaWorld.ann
            )
            let path = String(stored.url.dropFirst(MediaWorld.publicURL.count))
            let served = try await world.call(.get, path)
            #expect(served.status == 200)
            let refusal = await #expect(throws: ServiceError.self) {
                try await remote.store(Array("<svg/>".utf8), as: .header, owner: MediaWorld.ann)
            }
            #expect(refusal?.code == .unprocessable)

            await server.drain(deadline: .milliseconds(50))
            let gone = await #expect(throws: ServiceError.self) {
                try await remote.store([1], as: .avatar, owner: MediaWorld.ann)
            }
            #expect(gone?.code == .unavailable)
        }
    }

    @Test func `an avatar that is no picture is refused`() async throws {
        try await MediaWorld.run { world in
            do {
                _ = try await world.service.store(
                    Array("<svg/>".utf8),
                    as: .header,
                    owner: MediaWorld.ann
                )
                Issue.record("an SVG became a header")
            } catch {
                #expect("\(error)".contains("unprocessable"))
            }
        }
    }
}
