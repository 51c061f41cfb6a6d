import ArgumentParser
import Glibc
import JSON

/// What every command can be told about its output.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print one JSON object instead of text; errors too, on standard error.")
    var json = false

    /// Prints the result: `text` for people, or what `write` says for programs.
    func print(_ text: @autoclosure () -> String, json write: (inout JSONWriter) -> Void) {
        if json {
            var writer = JSONWriter()
            writer.object { json in write(&json) }
            writeLine(String(decoding: writer.bytes, as: UTF8.self), to: STDOUT_FILENO)
        } else {
            let lines = text()
            if !lines.isEmpty { writeLine(lines, to: STDOUT_FILENO) }
        }
    }

    /// Tells a person what is being done; programs get the result only.
    func progress(_ line: String) {
        guard !json else { return }
        writeLine(line, to: STDOUT_FILENO)
    }

    func report(_ failure: Failure) {
        if json {
            var writer = JSONWriter()
            writer.object { json in
                json.field("error", failure.message)
                json.field("kind", failure.kind.rawValue)
            }
            writeLine(String(decoding: writer.bytes, as: UTF8.self), to: STDERR_FILENO)
        } else {
            writeLine("shardctl: \(failure.message)", to: STDERR_FILENO)
        }
    }
}

/// Columns of text, as wide as their longest cell.
func table(_ header: [String], _ rows: [[String]]) -> String {
    let all = [header] + rows
    let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    let lines = all.map { row in
        var line = ""
        for (cell, width) in zip(row, widths) {
            line += cell + String(repeating: " ", count: width - cell.count + 2)
        }
        return String(line.reversed().drop { $0 == " " }.reversed())
    }
    return lines.joined(separator: "\n")
}

private func writeLine(_ line: String, to descriptor: Int32) {
    var bytes = ContiguousArray((line + "\n").utf8)[...]
    while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        // Nobody reads any more: there is nothing left to tell.
        guard count > 0 else { return }
        bytes = bytes.dropFirst(count)
    }
}
