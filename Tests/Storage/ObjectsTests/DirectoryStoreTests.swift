import EventLoops
import Foundation
import Glibc
import Objects
import Synchronization
import Testing

struct ObjectNameTests {
    @Test(
        arguments: [
            "", "/", "a/", "/a", "a//b", "..", "a/../b", ".hidden", "a/.b", "a b", "a\u{0}", "a~b",
            "a\\b",
            "ä", "a/b/c/d/e", "a%2e", String(repeating: "x", count: 161),
        ]
    )
    func `what might lead elsewhere is no name`(text: String) {
        #expect(ObjectName(text) == nil)
    }

    @Test(arguments: ["a", "media/0f-1/small.jpg", "A_b-c.d", "a/b/c/d", "a..b"])
    func `plain parts are a name`(text: String) {
        #expect(ObjectName(text)?.text == text)
    }
}

struct DirectoryStoreTests {
    private let name = ObjectName("media/0123-1/small.jpg")!

    @Test func `an object is read as it was put, whole and in parts`() async throws {
        try await withStore { store, _ in
            let bytes = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
            try await store.put(name, bytes)

            let object = try #require(try await store.get(name))
            #expect(object.length == bytes.count)
            #expect(try await object.read(10..<20) == Array(bytes[10..<20]))
            #expect(try await object.read(699_999..<700_000) == [bytes[699_999]])
            var streamed: [UInt8] = []
            try await object.stream(5..<bytes.count) { streamed += $0 }
            #expect(streamed == Array(bytes[5...]))
        }
    }

    @Test func `an empty object is an object`() async throws {
        try await withStore { store, _ in
            try await store.put(name, [])

            #expect(try await store.get(name)?.length == 0)
            #expect(try await store.exists(name))
        }
    }

    @Test func `put replaces, and an open object stays as it was`() async throws {
        try await withStore { store, _ in
            try await store.put(name, [1, 2])
            let old = try #require(try await store.get(name))
            try await store.put(name, [3])

            #expect(try await old.read(0..<2) == [1, 2])
            #expect(try await store.get(name)?.read(0..<1) == [3])
        }
    }

    @Test func `what is deleted or was never put is not there`() async throws {
        try await withStore { store, _ in
            #expect(try await !store.exists(name))
            #expect(try await !store.delete(name))
            try await store.put(name, [1])
            #expect(try await store.delete(name))
            #expect(try await !store.exists(name))
        }
    }

    @Test func `a stream beyond its bound leaves nothing`() async throws {
        try await withStore { store, root in
            let stream = AsyncStream<[UInt8]> { pieces in
                for _ in 0..<10 { pieces.yield(Array(repeating: 1, count: 100)) }
                pieces.finish()
            }

            await #expect(throws: ObjectError.tooLarge(limit: 450)) {
                try await store.put(name, stream: stream, limit: 450)
            }
            let exists = try await store.exists(name)
            #expect(!exists)
            #expect(files(below: "\(root)/temporary") == 0)
        }
    }

    @Test func `an upload that nobody commits goes away with its value`() async throws {
        try await withStore { store, root in
            do {
                let upload = try await store.begin(limit: 10)
                try await upload.write([1])
                #expect(files(below: "\(root)/temporary") == 1)
            }
            #expect(files(below: "\(root)/temporary") == 0)
        }
    }

    @Test func `leftovers of a crash are collected, and nothing younger`() async throws {
        try await withStore { store, root in
            let descriptor = creat("\(root)/temporary/left", 0o600)
            close(descriptor)
            var times = [timeval(tv_sec: time(nil) - 7200, tv_usec: 0), timeval()]
            times[1] = times[0]
            utimes("\(root)/temporary/left", times)
            let running = try await store.begin(limit: 1)

            #expect(try await store.collectLeftovers() == 1)
            try await running.write([1])
            try await running.commit(as: name)
            #expect(try await store.exists(name))
        }
    }

    @Test func `a full disk is an error of its own, and leaves nothing`() async throws {
        let root = try makeFolder()
        defer { removeFolder(root) }
        guard mount("tmpfs", root, "tmpfs", 0, "size=256k") == 0 else {
            return  // Only root may mount; the rest of the suite runs for everybody.
        }
        defer { umount2(root, detach) }
        let store = try DirectoryStore(
            root: "\(root)/store",
            offload: Offload(threads: 1, queueLimit: 16, name: "objects")
        )

        await #expect(throws: ObjectError.full) {
            try await store.put(name, Array(repeating: 1, count: 1 << 20))
        }
        #expect(files(below: "\(root)/store/temporary") == 0)
        try await store.put(name, [1])
        #expect(try await store.exists(name))
    }

    @Test func `many writers of one name leave one whole object`() async throws {
        try await withStore { store, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<16 {
                    group.addTask {
                        try await store.put(
                            name,
                            Array(repeating: UInt8(writer), count: 300_000)
                        )
                    }
                }
                try await group.waitForAll()
            }

            let object = try #require(try await store.get(name))
            let all = try await object.read(0..<200_000)
            #expect(object.length == 300_000)
            #expect(Set(all).count == 1)
        }
    }

    @Test func `a queue at its bound refuses`() async throws {
        let root = try makeFolder()
        defer { removeFolder(root) }
        let offload = Offload(threads: 1, queueLimit: 1, name: "objects")
        let store = try DirectoryStore(root: root, offload: offload)
        let (begun, end) = (Signal(), Signal())
        async let busy: Void = offload.run {
            begun.raise()
            while !end.isRaised { usleep(1_000) }
        }
        while !begun.isRaised { await Task.yield() }
        async let waiting: Void = offload.run {}
        while offload.waiting == 0 { await Task.yield() }

        await #expect(throws: ObjectError.overloaded) { try await store.exists(name) }
        end.raise()
        _ = try await (busy, waiting)
    }
}

private func withStore(
    _ body: (DirectoryStore, _ root: String) async throws -> Void
) async throws {
    let root = try makeFolder()
    defer { removeFolder(root) }
    let offload = Offload(threads: 2, queueLimit: 64, name: "objects")
    try await body(try DirectoryStore(root: "\(root)/store", offload: offload), "\(root)/store")
}

private final class Signal: Sendable {
    private let raised = Atomic<Bool>(false)

    var isRaised: Bool { raised.load(ordering: .acquiring) }

    func raise() { raised.store(true, ordering: .releasing) }
}

private func makeFolder() throws -> String {
    var path = Array("/tmp/tessera-objects-XXXXXX".utf8CString)
    guard mkdtemp(&path) != nil else { throw ObjectError.failed(call: "mkdtemp", errno: errno) }
    return String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

private func removeFolder(_ path: String) {
    // What is left in /tmp after a failure harms no other test.
    try? FileManager.default.removeItem(atPath: path)
}

/// `MNT_DETACH`.
private let detach: Int32 = 2

private func files(below folder: String) -> Int {
    guard let listing = opendir(folder) else { return -1 }
    defer { closedir(listing) }
    var count = 0
    while readdir(listing) != nil { count += 1 }
    return count - 2
}
