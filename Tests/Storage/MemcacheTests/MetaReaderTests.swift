import Testing

@testable import Memcache

struct MetaReaderTests {
    private func read(_ pieces: [[UInt8]]) throws -> [MetaAnswer] {
        var reader = MetaReader()
        var answers: [MetaAnswer] = []
        for piece in pieces {
            try piece.withUnsafeBufferPointer { bytes in
                try reader.read(bytes) {
                    answers.append($0)
                    return true
                }
            }
        }
        return answers
    }

    private static let conversation = Array(
        """
        VA 2 f77 c12 O1\r\nhi\r\nEN O2\r\nHD O3\r\nVA 0 f0 c9 O4 W\r\n\r\nNS O5\r\nEX O6\r\nNF O7\r
        SERVER_ERROR out of memory\r\nVA 9 f8 c3 O9 X W\r\nEN O1\r\nVA\r\n
        """.utf8
    )

    private static let answers: [MetaAnswer] = [
        MetaAnswer(code: .value, opaque: 1, flags: 77, unique: 12, value: Array("hi".utf8)),
        MetaAnswer(code: .absent, opaque: 2), MetaAnswer(code: .done, opaque: 3),
        MetaAnswer(code: .value, opaque: 4, unique: 9, isWon: true),
        MetaAnswer(code: .notStored, opaque: 5), MetaAnswer(code: .exists, opaque: 6),
        MetaAnswer(code: .notFound, opaque: 7), MetaAnswer(code: .refused),
        MetaAnswer(
            code: .value,
            opaque: 9,
            flags: 8,
            unique: 3,
            isWon: true,
            isStale: true,
            value: Array("EN O1\r\nVA".utf8)
        ),
    ]

    @Test func `answers are the same wherever the pieces end`() throws {
        let bytes = Self.conversation

        #expect(try read([bytes]) == Self.answers)
        #expect(try read(bytes.map { [$0] }) == Self.answers)
        for cut in 1..<bytes.count {
            #expect(try read([Array(bytes[..<cut]), Array(bytes[cut...])]) == Self.answers)
        }
    }

    @Test(arguments: [
        "\r\n", "ERROR\r\n", "CLIENT_ERROR bad\r\n", "VA\r\n", "VA x O1\r\n", "VA -1 O1\r\n",
        "VA 2000000 O1\r\n", "VA 99999999999999999999999 O1\r\n", "VA 2 O1\r\nhiho", "HD\r\n",
        "HD O\r\n", "HD O4294967296\r\n", "HD O1 f4294967296\r\n", "HD O1 cx\r\n", "HD O1\n",
        "hello O1\r\n", "VALUE x 0 2\r\n", "MN\r\n", "\0\0\0\r\n",
    ])
    func `what no memcached says is refused`(text: String) {
        #expect(throws: MetaViolation.self) { try read([Array(text.utf8)]) }
    }

    @Test func `a line has an end`() {
        let endless = Array(repeating: UInt8(ascii: "x"), count: MetaReader.lineLimit)

        #expect(throws: MetaViolation.self) { try read([endless]) }
        #expect(throws: MetaViolation.self) { try read(endless.map { [$0] }) }
    }

    @Test func `noise is refused or waited for, and never crashes`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<5_000 {
            var bytes = Self.conversation
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: at)
                default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
                }
            }
            let cut = Int.random(in: 0..<bytes.count, using: &random)
            // Only that it ends is looked at.
            _ = try? read([Array(bytes[..<cut]), Array(bytes[cut...])])
        }
    }
}

struct MetaWriterTests {
    @Test func `commands are numbered one after the other`() {
        var writer = MetaWriter(opaque: .max)
        let name = MetaName(prefix: Array("5f1d0c00:feed:".utf8), name: "x")
        writer.get(name)
        writer.lease(name, seconds: 4)
        writer.set(name, [104, 105], flags: 9, seconds: 60, .ifUnchanged(7))
        writer.set(name, [], flags: 9, seconds: 60, .ifAbsent)
        writer.delete(name)
        writer.expire(name, seconds: 10)
        writer.giveBack(name, unique: 18_446_744_073_709_551_615)

        #expect(
            String(decoding: writer.bytes, as: UTF8.self) == """
                mg 5f1d0c00:feed:x v f c O4294967295\r
                mg 5f1d0c00:feed:x N4 v f c O0\r
                ms 5f1d0c00:feed:x 2 T60 F9 C7 O1\r
                hi\r
                ms 5f1d0c00:feed:x 0 T60 F9 ME O2\r
                \r
                md 5f1d0c00:feed:x O3\r
                md 5f1d0c00:feed:x I T10 O4\r
                md 5f1d0c00:feed:x I C18446744073709551615 O5\r\n
                """
        )
    }
}

struct StampWorkTests {
    private let old = NodeStamp(incarnation: 1, generation: 5)

    @Test func `a stamp that is there is taken as it is`() {
        var work = StampWork(renews: false, newest: 7) { 9 }

        #expect(work.start == .read)
        #expect(work.apply(.read(old, unique: 3)) == .known(old))
        #expect(!work.isRenewed)
    }

    @Test func `a node without one gets one only from a client with the newest map`() {
        var allowed = StampWork(renews: false, newest: 7) { 9 }
        #expect(allowed.apply(.read(nil, unique: 0)) == .confirm)
        var refused = allowed
        let new = NodeStamp(incarnation: 9, generation: 7)

        #expect(allowed.apply(.confirmed(true)) == .add(new))
        #expect(allowed.apply(.written(true)) == .read)
        #expect(allowed.apply(.read(new, unique: 1)) == .known(new))
        guard case .failed = refused.apply(.confirmed(false)) else {
            Issue.record("it went on")
            return
        }
    }

    @Test func `renewing goes on until the node has another incarnation, but not for ever`() {
        var work = StampWork(renews: true, newest: 7) { 9 }
        let new = NodeStamp(incarnation: 9, generation: 5)

        #expect(work.apply(.read(old, unique: 3)) == .replace(new, unique: 3))
        #expect(work.apply(.written(false)) == .read)
        var hopeless = work
        #expect(work.apply(.read(old, unique: 4)) == .replace(new, unique: 4))
        #expect(work.apply(.written(true)) == .read)
        #expect(work.isRenewed)
        #expect(work.apply(.read(new, unique: 5)) == .known(new))

        for _ in 0..<2 {
            _ = hopeless.apply(.read(old, unique: 4))
            #expect(hopeless.apply(.written(false)) == .read)
        }
        _ = hopeless.apply(.read(old, unique: 4))
        guard case .failed = hopeless.apply(.written(false)) else {
            Issue.record("it went on")
            return
        }
    }
}
