import Glibc
import JSON
import Logging
import Logs
import Testing

@Suite struct `JSON log` {
    @Test func `a line is one object with its metadata`() throws {
        let pipe = Pipe()
        let sink = LogSink(descriptor: pipe.write)
        var logger = Logger(label: "test") { JSONLogHandler(label: $0, sink: sink) }
        logger[metadataKey: "node"] = "a1"

        LogContext.$requestID.withValue("r-1") {
            logger.info("say \"hi\"\n", metadata: ["list": ["a", "b"], "level": "mine"])
        }
        logger.debug("not at this level")
        sink.flush()

        let line = try JSONReader.parse(pipe.readAll())
        #expect(line["message"]?.string == "say \"hi\"\n")
        #expect(line["level"]?.string == "info")
        #expect(line["_level"]?.string == "mine")
        #expect(line["node"]?.string == "a1")
        #expect(line["request_id"]?.string == "r-1")
        #expect(line["list"]?[1]?.string == "b")
        #expect(line["time"]?.string?.count == 24)
        sink.close()
    }

    @Test func `a reader that stopped makes lines fall away and blocks nobody`() {
        let pipe = Pipe()
        let sink = LogSink(descriptor: pipe.write, queueLimitBytes: 10_000)
        let line = [UInt8](repeating: UInt8(ascii: "x"), count: 1_000)

        for _ in 0..<1_000 { sink.write(line) }

        #expect(sink.dropped > 0)
        Glibc.close(pipe.read)
        sink.close()
    }
}

private struct Pipe {
    let read: Int32
    let write: Int32

    init() {
        signal(SIGPIPE, SIG_IGN)
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0)
        read = ends[0]
        write = ends[1]
    }

    /// What fits in one read; enough for a line.
    func readAll() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = Glibc.read(read, &bytes, bytes.count)
        return Array(bytes[..<max(count, 0)])
    }
}
