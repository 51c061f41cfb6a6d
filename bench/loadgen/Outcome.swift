import EventLoops
import Glibc

/// The result of one run.
final class Outcome: @unchecked Sendable {
    // @unchecked: written by the one task of the run, read after its loop has ended.

    private var verdict = Verdict()
    private var failures: [String] = []
    private var repeated = 0
    private var follows = 0
    private var seconds: [(phase: String, Double)] = []
    private var latencies: [String: [Double]] = [:]

    var isRight: Bool { verdict.isRight && failures.isEmpty }

    func record(_ run: Run, follows: Int) async {
        self.follows = follows
        do {
            try await timed("sign_up") { try await run.signUp() }
            await timed("play") { await run.play() }
            verdict = await timed("check") { await run.check() }
        } catch {
            failures.append("\(error)")
        }
        failures += run.failures
        repeated = run.api.repeated
        latencies = run.api.latencies
    }

    func tell(json: Bool) {
        for failure in failures.prefix(20) { say(failure) }
        let phases = seconds.map { #""\#($0.phase)_s":\#(rounded($0.1))"# }
        let p99s = latencies.sorted { $0.key < $1.key }.map { method, values in
            let sorted = values.sorted()
            let name = method.lowercased()
            return #""\#(name)_p50_ms":\#(rounded(sorted[sorted.count / 2])),"#
                + #""\#(name)_p99_ms":\#(rounded(sorted[sorted.count * 99 / 100]))"#
        }
        let counts =
            #""lost":\#(verdict.lost),"doubled":\#(verdict.doubled),"#
            + #""misordered":\#(verdict.misordered),"unexpected":\#(verdict.unexpected),"#
            + #""unacknowledged":\#(failures.count),"repeated":\#(repeated),"follows":\#(follows)"#
        print("{" + ([counts] + phases + p99s).joined(separator: ",") + "}")
    }

    private func timed<Value>(_ phase: String, _ body: () async throws -> Value) async rethrows
        -> Value
    {
        let start = EventLoop.nanoseconds
        defer { seconds.append((phase, Double(EventLoop.nanoseconds - start) / 1e9)) }
        return try await body()
    }

    private func rounded(_ value: Double) -> Double {
        (value * 100).rounded() / 100
    }
}

/// Writes one line to standard error.
func say(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    _ = write(2, bytes, bytes.count)
}
