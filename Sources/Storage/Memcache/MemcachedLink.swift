import CLibmemcached
import EventLoops
import Glibc
import Sharding

/// What a memcached did to us; the link is then down.
enum MemcachedFailure: Error {
    case node(String)
}

/// One helper thread's connection to one memcached.
///
/// Every name begins with the node's *incarnation*, a random number kept on the node itself (``NodeStamp``). It
/// changes when memcached has restarted, and when a client that could not deliver a delete gets through again; all
/// that was there before is then out of reach. A round of commands is believed only if the incarnation is still the
/// same at its end, and if the stamp asks for no newer map than theirs: it is the last key of each multi-get, which
/// memcached answers in order.
final class MemcachedLink {
    /// How many commands make a round, and how many keys one multi-get.
    static let keysPerRequest = 128

    private static let roundAttempts = 4

    private let node: CacheNode
    private let pool: CachePool
    private let timeout: Duration
    private let confirm: @Sendable (Int64) -> Bool
    private var client: UnsafeMutablePointer<memcached_st>?
    private let result = UnsafeMutablePointer<memcached_result_st>.allocate(capacity: 1)
    private var stamp: NodeStamp?
    /// memcached's number of the stamp that was read last.
    private var stampUnique: UInt64 = 0

    /// `confirm` says whether a map of this generation is the newest; it may take a moment.
    init(
        node: CacheNode,
        pool: CachePool,
        timeout: Duration,
        confirm: @escaping @Sendable (Int64) -> Bool
    ) {
        self.node = node
        self.pool = pool
        self.timeout = timeout
        self.confirm = confirm
    }

    deinit {
        // Emptied by disconnect(), which the helper thread calls last.
        result.deallocate()
    }

    func disconnect() {
        guard let client else { return }
        memcached_result_free(result)
        memcached_free(client)
        self.client = nil
        stamp = nil
    }

    // MARK: Rounds

    /// Carries out all commands of the batches and sets their replies; throws when the node does not answer.
    ///
    /// `newest` is the generation of the newest map that the client has.
    func perform(_ batches: [CacheBatch], newest: Int64) throws(MemcachedFailure) {
        let wasConnected = client != nil
        do {
            try attempt(batches, newest)
        } catch .node(let reason) {
            // A connection from before a restart of memcached fails at once, and a fresh one works.
            guard wasConnected, reason != MemcachedLink.timedOut else {
                throw .node(reason)
            }
            try attempt(batches, newest)
        }
    }

    private func attempt(_ batches: [CacheBatch], _ newest: Int64) throws(MemcachedFailure) {
        for _ in 0..<MemcachedLink.roundAttempts {
            if stamp == nil { try learnStamp(newest: newest) }
            guard let current = stamp else { continue }
            var reading = Reading(incarnation: current.incarnation, prefix: current.prefix)
            for batch in batches {
                batch.replies.removeAll(keepingCapacity: true)
                guard batch.generation >= current.generation else { continue }
                for command in batch.commands {
                    batch.replies.append(try begin(command, &reading))
                }
            }
            let read = try multiGet(reading.names)
            guard let now = stamp, now.incarnation == current.incarnation else { continue }
            for batch in batches {
                guard batch.generation >= now.generation else {
                    batch.replies = batch.commands.map { _ in .outdated }
                    continue
                }
                for (index, command) in batch.commands.enumerated() {
                    complete(command, &batch.replies[index], reading, read)
                }
            }
            return
        }
        try fail("its incarnation changes all the time")
    }

    /// The keys that a round reads, each once.
    private struct Reading {
        let incarnation: UInt32
        let prefix: String
        var names: [String] = []
        var indices: [CacheKey: Int] = [:]

        init(incarnation: UInt32, prefix: String) {
            self.incarnation = incarnation
            self.prefix = prefix
        }

        func name(_ key: CacheKey) -> String { "\(prefix):\(key.pool.rawValue):\(key.name)" }

        mutating func add(_ key: CacheKey) {
            guard indices[key] == nil else { return }
            indices[key] = names.count
            names.append(name(key))
        }
    }

    /// Sends what changes something; what is read follows with the round's multi-get.
    private func begin(
        _ command: CacheCommand,
        _ reading: inout Reading
    ) throws(MemcachedFailure) -> CacheReply {
        switch command {
        case .get(let key), .copy(let key):
            reading.add(key)
            return command.whenUnavailable
        case .set(let key, let value, let seconds):
            return .done(try put(memcached_set, reading.name(key), value, seconds))
        case .add(let key, let value, let seconds):
            return .done(try put(memcached_add, reading.name(key), value, seconds))
        case .delete(let key), .expire(let key):
            try delete(reading.name(key))
            return .done(true)
        case .reserve(let key), .lease(let key):
            reading.add(key)
            let seconds = CacheLimits.fillTime.cacheSeconds
            let marker = ItemFlags.marker
            return .done(try put(memcached_add, reading.name(key), [], seconds, flags: marker))
        case .store(let key, let value, let seconds, let token):
            guard token.incarnation == reading.incarnation else { return .done(false) }
            return .done(try compareAndSet(reading.name(key), value, seconds, token.unique))
        }
    }

    private func complete(
        _ command: CacheCommand,
        _ reply: inout CacheReply,
        _ reading: Reading,
        _ read: [Item?]
    ) {
        switch command {
        case .get(let key):
            if let item = read[reading.indices[key]!], !item.isMarker { reply = .value(item.value) }
        case .copy(let key):
            if let item = read[reading.indices[key]!], !item.isMarker {
                reply = .copy(CachedCopy(value: item.value, seconds: item.secondsLeft))
            }
        case .reserve(let key):
            reply = .reservation(reservation(of: read[reading.indices[key]!], reply, reading))
        case .lease(let key):
            let reservation = reservation(of: read[reading.indices[key]!], reply, reading)
            reply = .lease(CacheLease(reservation))
        case .set, .add, .delete, .expire, .store:
            break
        }
    }

    /// `reply` says whether the marker that is read is the one just put.
    private func reservation(
        of item: Item?,
        _ reply: CacheReply,
        _ reading: Reading
    ) -> CacheReservation {
        guard let item else { return .taken }
        guard item.isMarker else { return .filled(item.value) }
        guard reply.isDone else { return .taken }
        return .owned(token: CacheToken(unique: item.unique, incarnation: reading.incarnation))
    }

    // MARK: Stamp

    /// Reads the node's stamp, or gives it one if it has none and `newest` is confirmed.
    ///
    /// A node without one has forgotten everything, also that an old map must not be used with it. So nobody gives
    /// it one unless asked elsewhere, after seeing that it has none and over the same connection: a further
    /// restart in between ends that.
    func learnStamp(newest: Int64) throws(MemcachedFailure) {
        _ = try multiGet([])
        guard stamp == nil else { return }
        guard confirm(newest) else { try fail("nobody confirms that its map is the newest") }
        _ = try putStamp(.init(incarnation: MemcachedLink.drawn(), generation: newest))
        _ = try multiGet([])
    }

    /// Puts everything on the node out of reach.
    func renewIncarnation(newest: Int64) throws(MemcachedFailure) {
        for _ in 0..<MemcachedLink.roundAttempts {
            stamp = nil
            _ = try multiGet([])
            guard let old = stamp else { return try learnStamp(newest: newest) }
            let new = NodeStamp(incarnation: MemcachedLink.drawn(), generation: old.generation)
            guard try replaceStamp(with: new) else { continue }
            stamp = nil
            _ = try multiGet([])
            return
        }
        try fail("it takes no incarnation")
    }

    /// Has the node refuse clients whose map is older than `generation`; for who writes the maps.
    func raiseStamp(to generation: Int64) throws(MemcachedFailure) {
        for _ in 0..<MemcachedLink.roundAttempts {
            stamp = nil
            _ = try multiGet([])
            guard let old = stamp else {
                _ = try putStamp(.init(incarnation: MemcachedLink.drawn(), generation: generation))
                continue
            }
            guard old.generation < generation else { return }
            _ = try replaceStamp(
                with: NodeStamp(incarnation: old.incarnation, generation: generation)
            )
        }
        try fail("its stamp changes all the time")
    }

    /// The node's stamp as it is now.
    func readStamp() throws(MemcachedFailure) -> NodeStamp? {
        stamp = nil
        _ = try multiGet([])
        return stamp
    }

    private static func drawn() -> UInt32 { UInt32.random(in: 1...UInt32.max) }

    private var stampName: String { NodeStamp.name(of: pool) }

    private func putStamp(_ stamp: NodeStamp) throws(MemcachedFailure) -> Bool {
        try put(memcached_add, stampName, Array(stamp.text.utf8), 0)
    }

    private func replaceStamp(with stamp: NodeStamp) throws(MemcachedFailure) -> Bool {
        try compareAndSet(stampName, Array(stamp.text.utf8), 0, stampUnique)
    }

    // MARK: Calls

    private struct Item {
        let value: [UInt8]
        let flags: UInt32
        let unique: UInt64

        var isMarker: Bool { ItemFlags.isMarker(flags) }
        var secondsLeft: Int? { ItemFlags.secondsLeft(flags) }
    }

    /// Reads the named items, and the node's stamp after them.
    private func multiGet(_ names: [String]) throws(MemcachedFailure) -> [Item?] {
        var items: [Item?] = []
        items.reserveCapacity(names.count)
        repeat {
            let part = names[items.count...].prefix(MemcachedLink.keysPerRequest - 1)
            var read = try request(Array(part) + [stampName])
            let last = read.removeLast()
            items += read
            let found = last.flatMap { NodeStamp(text: String(decoding: $0.value, as: UTF8.self)) }
            stampUnique = last?.unique ?? 0
            if let known = stamp, known.incarnation != found?.incarnation {
                // What was read may be of another life of the node.
                stamp = found
                return Array(repeating: nil, count: names.count)
            }
            stamp = found
        } while items.count < names.count
        return items
    }

    /// One multi-get; memcached answers the keys that it has in the order in which they were asked.
    private func request(_ names: [String]) throws(MemcachedFailure) -> [Item?] {
        let client = try connected()
        var text: [CChar] = []
        var lengths: [Int] = []
        for name in names {
            lengths.append(name.utf8.count)
            text.append(contentsOf: name.utf8.lazy.map { CChar(bitPattern: $0) })
        }
        let sent = text.withUnsafeBufferPointer { text in
            var pointers: [UnsafePointer<CChar>?] = []
            var offset = 0
            for length in lengths {
                pointers.append(text.baseAddress! + offset)
                offset += length
            }
            // libmemcached writes the request before it returns and keeps no pointer.
            return memcached_mget(client, pointers, lengths, lengths.count)
        }
        guard sent == MEMCACHED_SUCCESS else { try fail(sent) }

        var items: [Item?] = []
        items.reserveCapacity(names.count)
        var status = MEMCACHED_SUCCESS
        while memcached_fetch_result(client, result, &status) != nil {
            let unique = memcached_result_cas(result)
            let length = memcached_result_key_length(result)
            let key = UnsafeRawBufferPointer(
                start: memcached_result_key_value(result),
                count: length
            )
            while items.count < names.count, !names[items.count].utf8.elementsEqual(key) {
                items.append(nil)
            }
            guard items.count < names.count else { try fail("an answer that nobody asked for") }
            let value = UnsafeRawBufferPointer(
                start: memcached_result_value(result),
                count: memcached_result_length(result)
            )
            let flags = memcached_result_flags(result)
            items.append(Item(value: [UInt8](value), flags: flags, unique: unique))
        }
        guard status == MEMCACHED_END || status == MEMCACHED_NOTFOUND || status == MEMCACHED_SUCCESS
        else { try fail(status) }
        while items.count < names.count { items.append(nil) }
        return items
    }

    /// `memcached_set` or `memcached_add`.
    private typealias Put = (
        UnsafeMutablePointer<memcached_st>?, UnsafePointer<CChar>?, Int, UnsafePointer<CChar>?, Int,
        time_t, UInt32
    ) -> memcached_return_t

    private func put(
        _ call: Put,
        _ name: String,
        _ value: [UInt8],
        _ seconds: Int,
        flags: UInt32? = nil
    ) throws(MemcachedFailure) -> Bool {
        let client = try connected()
        let flags = flags ?? ItemFlags.ending(in: seconds)
        let status = value.withUnsafeBytes { bytes in
            call(
                client,
                name,
                name.utf8.count,
                bytes.bindMemory(to: CChar.self).baseAddress,
                bytes.count,
                seconds,
                flags
            )
        }
        switch status {
        case MEMCACHED_SUCCESS, MEMCACHED_STORED: return true
        case MEMCACHED_NOTSTORED, MEMCACHED_DATA_EXISTS: return false
        case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE, MEMCACHED_E2BIG:
            // No room for it; memcached has dropped what was there under the name.
            return false
        default: try fail(status)
        }
    }

    private func compareAndSet(
        _ name: String,
        _ value: [UInt8],
        _ seconds: Int,
        _ unique: UInt64
    ) throws(MemcachedFailure) -> Bool {
        let client = try connected()
        let status = value.withUnsafeBytes { bytes in
            memcached_cas(
                client,
                name,
                name.utf8.count,
                bytes.bindMemory(to: CChar.self).baseAddress,
                bytes.count,
                seconds,
                ItemFlags.ending(in: seconds),
                unique
            )
        }
        switch status {
        case MEMCACHED_SUCCESS, MEMCACHED_STORED: return true
        case MEMCACHED_NOTFOUND, MEMCACHED_DATA_EXISTS, MEMCACHED_NOTSTORED: return false
        case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE, MEMCACHED_E2BIG: return false
        default: try fail(status)
        }
    }

    private func delete(_ name: String) throws(MemcachedFailure) {
        let status = memcached_delete(try connected(), name, name.utf8.count, 0)
        switch status {
        case MEMCACHED_SUCCESS, MEMCACHED_DELETED, MEMCACHED_NOTFOUND: return
        default: try fail(status)
        }
    }

    // MARK: Connection

    private func connected() throws(MemcachedFailure) -> UnsafeMutablePointer<memcached_st> {
        if let client { return client }
        guard let made = memcached_create(nil) else { throw .node("no memory") }
        let milliseconds = timeout.wholeMilliseconds
        let behaviors: [(memcached_behavior_t, UInt64)] = [
            (MEMCACHED_BEHAVIOR_NO_BLOCK, 1),
            (MEMCACHED_BEHAVIOR_TCP_NODELAY, 1),
            (MEMCACHED_BEHAVIOR_SUPPORT_CAS, 1),
            (MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, milliseconds),
            (MEMCACHED_BEHAVIOR_POLL_TIMEOUT, milliseconds),
            (MEMCACHED_BEHAVIOR_SND_TIMEOUT, milliseconds * 1000),
            (MEMCACHED_BEHAVIOR_RCV_TIMEOUT, milliseconds * 1000),
            // A failed link is thrown away, and the lane decides when to try again; libmemcached's own
            // retry only ever meets a fresh instance.
            (MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, 1),
        ]
        for (behavior, value) in behaviors {
            let status = memcached_behavior_set(made, behavior, value)
            precondition(status == MEMCACHED_SUCCESS, "\(behavior): \(status)")
        }
        guard memcached_server_add(made, node.host, node.port) == MEMCACHED_SUCCESS else {
            memcached_free(made)
            throw .node("bad address \(node)")
        }
        precondition(memcached_result_create(made, result) != nil, "no memory")
        client = made
        return made
    }

    private static let timedOut = "timed out"

    private func fail(_ status: memcached_return_t) throws(MemcachedFailure) -> Never {
        if status == MEMCACHED_TIMEOUT { try fail(MemcachedLink.timedOut) }
        try fail(String(cString: memcached_strerror(client, status)))
    }

    /// Throws, and drops the connection: answers that are still under way must not be taken for later ones.
    private func fail(_ reason: String) throws(MemcachedFailure) -> Never {
        disconnect()
        throw .node(reason)
    }
}
