import Contracts
import Sharding

/// One client that listens, by whichever way.
class StreamListener: @unchecked Sendable {
    // @unchecked: touched on its hub's loop only.
    let user: UserID
    let session: SessionID?
    fileprivate(set) var streams: [StreamName] = []
    /// What of the user's own events has been handed over; nil while it does not listen to them.
    var place: Int64?

    init(user: UserID, session: SessionID?) {
        self.user = user
        self.session = session
    }

    var isPersonal: Bool { streams.contains(where: \.isPersonal) }

    /// False if it listens to as much as it may, or to this already.
    func add(_ stream: StreamName) -> Bool {
        guard streams.count < Self.streamLimit, !streams.contains(stream) else { return false }
        streams.append(stream)
        return true
    }

    func remove(_ stream: StreamName) {
        streams.removeAll { $0 == stream }
    }

    /// Streams that one client may listen to.
    private static let streamLimit = 20

    /// Hands over an event of these streams, all of which the client listens to.
    func deliver(_ message: StreamMessage, of streams: [StreamName]) {}

    /// Tells that events may be missing between what the client has seen and what comes next.
    func skipped(to place: Int64) {}

    /// The token is no longer good.
    func revoke() {}

    /// The node stops.
    func goAway() {}
}
