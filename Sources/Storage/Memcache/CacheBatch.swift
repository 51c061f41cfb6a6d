/// One thing to ask of a memcached.
enum CacheCommand: Sendable {
    case get(CacheKey)
    /// As `get`, with what is left of the value's life.
    case copy(CacheKey)
    case set(CacheKey, [UInt8], seconds: Int)
    case add(CacheKey, [UInt8], seconds: Int)
    case delete(CacheKey)
    /// Leaves the value, for a while, to those who allow it.
    case expire(CacheKey)
    /// Reads the key, and reserves it if nothing is there.
    case lease(CacheKey)
    case reserve(CacheKey)
    case store(CacheKey, [UInt8], seconds: Int, CacheToken)

    /// What the one who asked is told when the node does not answer.
    var whenUnavailable: CacheReply {
        switch self {
        case .get: .value(nil)
        case .copy: .copy(nil)
        case .set, .add, .delete, .expire, .store: .done(false)
        case .lease: .lease(CacheLease(.unavailable))
        case .reserve: .reservation(.unavailable)
        }
    }

    /// Whether the node may hold a value that must not be read any more, if this was not carried out.
    ///
    /// A fill's own steps are safe: they store under compare-and-set only.
    var leavesStale: Bool {
        switch self {
        case .set, .add, .delete, .expire: true
        case .get, .copy, .lease, .reserve, .store: false
        }
    }
}

enum CacheReply: Sendable {
    case value([UInt8]?)
    case copy(CachedCopy?)
    case done(Bool)
    case lease(CacheLease)
    case reservation(CacheReservation)
    /// The node belongs to a newer map than the one by which it was asked; whether it was carried out says nothing.
    case outdated
}

/// What one turn of the loop asks of one node, by one map.
///
/// The loop fills it, hands it over through the node's inbox, and reads the replies after the helper thread has
/// handed it back; so one thread at a time touches it.
final class CacheBatch: @unchecked Sendable {
    // @unchecked: the mutexes of inbox and loop order the two hand-overs.
    /// Of the map by which the node was chosen.
    let generation: Int64
    private(set) var commands: [CacheCommand] = []
    var replies: [CacheReply] = []
    private var waiters: [CacheWaiter] = []

    init(generation: Int64) {
        self.generation = generation
    }

    func append(_ command: CacheCommand, _ waiter: CacheWaiter) {
        commands.append(command)
        waiters.append(waiter)
    }

    /// Answers everybody; on the loop.
    func finish() {
        for (index, waiter) in waiters.enumerated() {
            waiter.resume(
                index < replies.count ? replies[index] : commands[index].whenUnavailable
            )
        }
        waiters.removeAll()
    }
}

/// Who waits for one reply.
enum CacheWaiter {
    case single(UnsafeContinuation<CacheReply, Never>)
    case part(CacheGathering, index: Int)
    case call((CacheReply) -> Void)
    case nobody

    func resume(_ reply: CacheReply) {
        switch self {
        case .single(let continuation): continuation.resume(returning: reply)
        case .part(let gathering, let index): gathering.receive(reply, at: index)
        case .call(let body): body(reply)
        case .nobody: break
        }
    }
}

/// A call for several keys, which may be on several nodes; resumes its task when the last has answered.
final class CacheGathering {
    private var replies: [CacheReply]
    private var missing: Int
    private let continuation: UnsafeContinuation<[CacheReply], Never>

    init(count: Int, _ continuation: UnsafeContinuation<[CacheReply], Never>) {
        replies = Array(repeating: .done(false), count: count)
        missing = count
        self.continuation = continuation
    }

    func receive(_ reply: CacheReply, at index: Int) {
        replies[index] = reply
        missing -= 1
        if missing == 0 { continuation.resume(returning: replies) }
    }
}
