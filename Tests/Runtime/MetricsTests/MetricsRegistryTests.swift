import EventLoops
import Foundation
import Metrics
import Testing

@Suite struct `Metrics registry` {
    @Test func `cells of one series are added up`() {
        let registry = MetricsRegistry()
        let here = registry.counter(
            "http_requests_total",
            help: "Requests.",
            labels: [("code", "200")]
        )
        let there = registry.counter(
            "http_requests_total",
            help: "Requests.",
            labels: [("code", "200")]
        )
        let other = registry.counter(
            "http_requests_total",
            help: "Requests.",
            labels: [("code", "404")]
        )

        here.add(2)
        there.add()
        other.add()

        #expect(
            registry.render() == """
                # HELP http_requests_total Requests.
                # TYPE http_requests_total counter
                http_requests_total{code="200"} 3
                http_requests_total{code="404"} 1

                """
        )
    }

    @Test func `a histogram counts what lies below each bound`() {
        let registry = MetricsRegistry()
        let histogram = registry.histogram("took_seconds", help: "Time.", bounds: [0.1, 1])

        histogram.record(0.05)
        histogram.record(.milliseconds(500))
        histogram.record(3)

        #expect(
            registry.render() == """
                # HELP took_seconds Time.
                # TYPE took_seconds histogram
                took_seconds_bucket{le="0.1"} 1
                took_seconds_bucket{le="1"} 2
                took_seconds_bucket{le="+Inf"} 3
                took_seconds_sum 3.55
                took_seconds_count 3

                """
        )
    }

    @Test func `label values and help texts are escaped`() {
        let registry = MetricsRegistry()
        registry.gauge("odd", help: "a\\b\nc", labels: [("path", "\"x\\\n")]).set(-1.5)

        #expect(
            registry.render() == """
                # HELP odd a\\\\b\\nc
                # TYPE odd gauge
                odd{path="\\"x\\\\\\n"} -1.5

                """
        )
    }

    @Test func `labels known at run time are bounded`() {
        let registry = MetricsRegistry()
        let answers = LabelledCounters(
            registry,
            "answers_total",
            help: "Answers.",
            labels: ["code"]
        )

        for code in 0..<1_000 { answers.counter([String(code)]).add() }

        let lines = registry.render().split(separator: "\n")
        #expect(lines.count == LabelledCounters.limit + 1 + 2)
        #expect(lines.contains("answers_total{code=\"other\"} \(1_000 - LabelledCounters.limit)"))
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/promtool")))
    func `promtool finds nothing to say`() throws {
        let registry = MetricsRegistry()
        let group = LoopGroup(count: 1)
        defer { group.stopAndJoin() }
        ProcessMetrics.register(in: registry, loops: group.loops)
        registry.histogram("took_seconds", help: "Time.").record(0.2)
        registry.counter("http_requests_total", help: "Requests.").add()

        let promtool = Process()
        promtool.executableURL = URL(fileURLWithPath: "/usr/bin/promtool")
        promtool.arguments = ["check", "metrics"]
        let input = Pipe()
        let output = Pipe()
        promtool.standardInput = input
        promtool.standardError = output
        promtool.standardOutput = output
        try promtool.run()
        input.fileHandleForWriting.write(Data(registry.render().utf8))
        try input.fileHandleForWriting.close()
        let said = output.fileHandleForReading.readDataToEndOfFile()
        promtool.waitUntilExit()

        #expect(String(decoding: said, as: UTF8.self) == "")
        #expect(promtool.terminationStatus == 0)
    }

    @Test func `the kernel's figures are there`() {
        let registry = MetricsRegistry()
        ProcessMetrics.register(in: registry, loops: [])

        let text = registry.render()

        #expect(text.contains("process_resident_memory_bytes"))
        #expect(!text.contains("NaN"))
    }
}
