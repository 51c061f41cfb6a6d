import EventLoops
import Glibc

/// Tells how far the run is: a line for people on standard error, a JSON line a second for `bench/load`.
final class Progress {
    private let json: Bool
    private let terminal = isatty(2) == 1
    private var phase = ""
    private var total = 0
    private var done = 0
    private var started: UInt64 = 0
    private var told: UInt64 = 0

    init(json: Bool) { self.json = json }

    func begin(_ phase: String, total: Int) {
        (self.phase, self.total, done) = (phase, total, 0)
        started = EventLoop.nanoseconds
        told = 0
        tell()
    }

    func step() {
        done += 1
        if EventLoop.nanoseconds - told > 500_000_000 { tell() }
    }

    func end() {
        tell()
        if terminal { write("\n") }
    }

    private func tell() {
        told = EventLoop.nanoseconds
        let seconds = max(0.001, Double(told - started) / 1e9)
        let rate = Double(done) / seconds
        let left = done == 0 ? 0 : Double(total - done) / rate
        if json {
            print(#"{"progress":{"phase":"\#(phase)","done":\#(done),"total":\#(total)}}"#)
            fflush(nil)
        }
        let text = "\(phase): \(done)/\(total), \(Int(rate))/s, \(Int(left)) s left"
        write(terminal ? "\r\u{1B}[K\(text)" : "\(text)\n")
    }

    private func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.write(2, bytes, bytes.count)
    }
}
