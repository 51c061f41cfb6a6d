import EventLoops
import Glibc

/// What one turn of the loop asks of one node by one map; the node's stamp is asked for last.
///
/// Equal questions of a turn are asked once.
final class MetaRound {
    /// How many commands make a round.
    static let commandLimit = 128

    struct Ask {
        let command: CacheCommand
        /// Nil for what the lane itself asks.
        var waiter: CacheWaiter
        /// Those that asked the same.
        var more: [CacheWaiter] = []
        /// What an expired value had as its number, for a lane that gives back what it has won by chance.
        var givesBack: UInt64?
    }

    /// Of the map by which the node was chosen.
    let generation: Int64

    /// In the loop's milliseconds.
    let began: UInt64

    private(set) var asks: [Ask] = []
    private(set) var waiters = 0
    private(set) var valueBytes = 0
    private var gets: [CacheKey: Int] = [:]
    private var leases: [CacheKey: Int] = [:]

    /// While it is under way: the incarnation that its names have, its first number, and what was answered.
    var incarnation: UInt32 = 0
    var opaque: UInt32 = 0
    var sent: UInt64 = 0
    var replies: [CacheReply] = []
    /// How often it was sent.
    var attempts = 0
    /// Whether it was sent again after a connection had ended.
    var isRepeated = false

    init(generation: Int64, began: UInt64) {
        self.generation = generation
        self.began = began
    }

    var isFull: Bool { asks.count >= Self.commandLimit }

    /// Whether the node may hold a value that must not be read any more, if this was not carried out.
    var leavesStale: Bool { asks.contains { $0.command.leavesStale } }

    func add(_ command: CacheCommand, _ waiter: CacheWaiter) {
        waiters += 1
        switch command {
        case .get(let key):
            if let index = gets[key] { return asks[index].more.append(waiter) }
            gets[key] = asks.count
        case .lease(let key):
            if let index = leases[key] { return asks[index].more.append(waiter) }
            leases[key] = asks.count
        case .set(let key, let value, _), .add(let key, let value, _),
            .store(let key, let value, _, _):
            valueBytes += value.count
            separate(key)
        case .delete(let key), .expire(let key), .reserve(let key):
            separate(key)
        case .copy: break
        }
        asks.append(Ask(command: command, waiter: waiter))
    }

    func giveBack(_ key: CacheKey, unique: UInt64) {
        waiters += 1
        separate(key)
        asks.append(Ask(command: .expire(key), waiter: .nobody, givesBack: unique))
    }

    /// What is asked after a change sees it.
    private func separate(_ key: CacheKey) {
        gets[key] = nil
        leases[key] = nil
    }

    // MARK: Sending

    func write(to writer: inout MetaWriter, prefix: [UInt8], stampName: MetaName) {
        opaque = writer.opaque
        replies.removeAll(keepingCapacity: true)
        for ask in asks { write(ask, &writer, prefix) }
        writer.get(stampName)
    }

    private func write(_ ask: Ask, _ writer: inout MetaWriter, _ prefix: [UInt8]) {
        let name = MetaName(prefix: prefix, name: ask.command.key.name)
        switch ask.command {
        case .get, .copy: writer.get(name)
        case .lease, .reserve: writer.lease(name, seconds: CacheLimits.leaseTime.cacheSeconds)
        case .set(_, let value, let seconds):
            writer.set(name, value, flags: ItemFlags.ending(in: seconds), seconds: seconds, .always)
        case .add(_, let value, let seconds):
            writer.set(
                name,
                value,
                flags: ItemFlags.ending(in: seconds),
                seconds: seconds,
                .ifAbsent
            )
        case .store(_, let value, let seconds, let token):
            writer.set(
                name,
                value,
                flags: ItemFlags.ending(in: seconds),
                seconds: seconds,
                // No item gets that far: what was reserved in another life of the node is not stored.
                .ifUnchanged(token.incarnation == incarnation ? token.unique : .max)
            )
        case .delete: writer.delete(name)
        case .expire:
            if let unique = ask.givesBack {
                writer.giveBack(name, unique: unique)
            } else {
                writer.expire(name, seconds: CacheLimits.staleTime.cacheSeconds)
            }
        }
    }

    // MARK: Answers

    /// Takes the next answer but the last; throws where it does not fit what was asked.
    ///
    /// Gives the number of an expired value which the reader has won without wanting it.
    func take(_ answer: MetaAnswer) throws -> (key: CacheKey, unique: UInt64)? {
        let command = asks[replies.count].command
        replies.append(try reply(to: command, answer))
        switch command {
        case .get(let key), .copy(let key): return answer.isWon ? (key, answer.unique) : nil
        default: return nil
        }
    }

    private func reply(to command: CacheCommand, _ answer: MetaAnswer) throws -> CacheReply {
        switch (command, answer.code) {
        case (.get, .absent), (.get, .refused): return .value(nil)
        case (.get, .value):
            let isThere = !answer.isStale && !ItemFlags.isMarker(answer.flags)
            return .value(isThere ? answer.value : nil)
        case (.copy, .absent): return .copy(nil)
        case (.copy, .value):
            guard !answer.isStale, !ItemFlags.isMarker(answer.flags) else { return .copy(nil) }
            let seconds = ItemFlags.secondsLeft(answer.flags)
            return .copy(CachedCopy(value: answer.value, seconds: seconds))
        case (.lease, .value): return .lease(lease(answer))
        case (.reserve, .value): return .reservation(lease(answer).reservation)
        case (.set, .done), (.add, .done), (.store, .done): return .done(true)
        case (.add, .notStored), (.store, .notStored), (.store, .exists), (.store, .notFound):
            return .done(false)
        case (.delete, .done), (.delete, .notFound), (.expire, .done), (.expire, .notFound):
            return .done(true)
        // Changed meanwhile: then there is nothing to give back.
        case (.expire, .exists): return .done(true)
        case (.set, .refused), (.add, .refused), (.store, .refused):
            // No room for it; memcached has dropped what was there under the name.
            return .done(false)
        case (.lease, .refused), (.reserve, .refused), (.lease, .absent), (.reserve, .absent):
            // No room for a marker.
            return command.whenUnavailable
        default:
            throw MetaViolation(reason: "\(answer.code) is no answer to what was asked")
        }
    }

    private func lease(_ answer: MetaAnswer) -> CacheLease {
        let isMarker = ItemFlags.isMarker(answer.flags)
        let stale = answer.isStale && !isMarker ? answer.value : nil
        if answer.isWon {
            let token = CacheToken(unique: answer.unique, incarnation: incarnation)
            return CacheLease(.owned(token: token), stale: stale)
        }
        if isMarker || answer.isStale { return CacheLease(.taken, stale: stale) }
        return CacheLease(.filled(answer.value))
    }

    /// Answers everybody; without replies as for a node that does not answer.
    func finish(_ replies: [CacheReply]? = nil) {
        for (index, ask) in asks.enumerated() {
            let reply = replies?[index] ?? ask.command.whenUnavailable
            ask.waiter.resume(reply)
            guard !ask.more.isEmpty else { continue }
            // One of them loads.
            let shared = reply.forOthers
            for waiter in ask.more { waiter.resume(shared) }
        }
        asks = []
    }
}

extension CacheReply {
    /// What those are told who asked the same in the same turn.
    fileprivate var forOthers: CacheReply {
        if case .lease(let lease) = self, case .owned = lease.reservation {
            return .lease(CacheLease(.taken, stale: lease.stale))
        }
        return self
    }
}

/// The 32 bits that memcached keeps beside each value: 0 or 1 for a marker, and for a value the second in which its
/// life ends, counted from 2020, by the clock of who wrote it.
enum ItemFlags {
    /// What libmemcached's markers have; those of the meta protocol have 0.
    static let marker: UInt32 = 1
    private static let epoch = 1_577_836_800

    static func isMarker(_ flags: UInt32) -> Bool { flags <= marker }

    static func ending(in seconds: Int) -> UInt32 {
        UInt32(clamping: max(Int(marker) + 1, time(nil) - epoch + seconds))
    }

    /// Nil for a marker.
    static func secondsLeft(_ flags: UInt32) -> Int? {
        isMarker(flags) ? nil : Int(flags) + epoch - time(nil)
    }
}
