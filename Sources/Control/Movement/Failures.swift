internal import Administration
internal import Coordination
internal import EventLoops
import Glibc

extension MoveFailure {
    /// What went wrong, sorted by whether trying again helps.
    init(_ error: any Error) {
        switch error {
        case let failure as MoveFailure: self = failure
        case let error as AdminError:
            self.init(kind: Self.kind(of: error), message: error.description)
        case is CancellationError: self.init(kind: .transient, message: "it was interrupted")
        case is Offload.Full:
            self.init(kind: .transient, message: "too much work waits for the movers' threads")
        default: self.init(kind: .transient, message: "\(error)")
        }
    }

    private static func kind(of error: AdminError) -> Kind {
        switch error.kind {
        case .unreachable: return .transient
        case .denied: return .refused
        case .statement: break
        }
        // The connection, resources, locks and cancellations, rollbacks; our own "not yet".
        let passing = ["08", "53", "55", "57", "40"]
        if error.sqlstate == "TF005" || passing.contains(String(error.sqlstate.prefix(2))) {
            return .transient
        }
        return .refused
    }
}

/// Sleeps on the calling thread.
func sleepThread(_ duration: Duration) {
    let microseconds = duration / .microseconds(1)
    if microseconds > 0 { usleep(useconds_t(microseconds)) }
}
