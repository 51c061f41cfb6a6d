import Glibc

/// A named place in the code where a test ends or stops the whole process, as a crash or a stall would.
///
/// Nothing happens unless `TESSERA_ALLOW_FAILPOINTS=1`. Then `TESSERA_FAILPOINT` arms one place for every pass
/// through it: `copying.after:kill`. `TESSERA_FAILPOINTS` names a folder in which a test puts a file for each
/// place, such as `copying.after` with the text `pause`: the process that passes it first takes the file away,
/// so that of several processes one is hit, once, also while they run.
package struct Failpoint: Sendable, Equatable, CustomStringConvertible {
    package enum Side: String, Sendable {
        case before, after
    }

    package enum Action: String, Sendable {
        /// SIGKILL.
        case kill
        /// SIGSTOP; goes on at SIGCONT.
        case pause
    }

    package let step: String
    package let side: Side
    package let action: Action

    /// From `<step>.<before|after>[:kill|pause]`; nil for anything else. Without an action it kills.
    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard let place = parts.first, parts.count <= 2,
            let dot = place.lastIndex(of: "."), dot > place.startIndex,
            let side = Side(rawValue: String(place[place.index(after: dot)...])),
            let action = parts.count == 2 ? Action(rawValue: String(parts[1])) : .kill
        else { return nil }
        step = String(place[..<dot])
        self.side = side
        self.action = action
    }

    package var description: String { "\(step).\(side):\(action)" }

    // MARK: In this process

    /// Whether this process was started for tests that crash it.
    package static let isAllowed = Environment.variables["TESSERA_ALLOW_FAILPOINTS"] == "1"

    /// The one of `TESSERA_FAILPOINT`.
    package static let armed: Failpoint? =
        isAllowed ? Environment.variables["TESSERA_FAILPOINT"].flatMap { Failpoint($0) } : nil

    private static let folder: String? =
        isAllowed ? Environment.variables["TESSERA_FAILPOINTS"] : nil

    /// Marks a place; costs a comparison unless failpoints are allowed.
    package static func reach(_ step: String, _ side: Side) {
        guard isAllowed else { return }
        if let armed, armed.step == step, armed.side == side { armed.act() }
        if let folder { taken(step, side, from: folder)?.act() }
    }

    /// The place's file, if there is one and nobody else has taken it.
    static func taken(_ step: String, _ side: Side, from folder: String) -> Failpoint? {
        let place = "\(step).\(side)"
        guard let file = fopen("\(folder)/\(place)", "re") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = fread(&bytes, 1, bytes.count, file)
        let text = String(decoding: bytes[..<count].filter { $0 > 32 }, as: UTF8.self)
        // Of several that have read it, only one can remove it.
        guard unlink("\(folder)/\(place)") == 0 else { return nil }
        return Failpoint(text.isEmpty ? place : "\(place):\(text)")
    }

    private func act() {
        switch action {
        case .kill: Self.kill()
        case .pause: Glibc.kill(getpid(), SIGSTOP)
        }
    }

    /// Ends the process as SIGKILL from outside would: nothing is flushed or told.
    package static func kill() {
        Glibc.kill(getpid(), SIGKILL)
    }
}
