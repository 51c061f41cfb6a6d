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
/// Every name begins with the node's *incarnation*, a random number kept on the node itself. It changes when
/// memcached has restarted, and when a client that could not deliver a delete gets through again; all that was
/// there before is then out of reach. A round of commands is believed only if the incarnation is still the same
/// at its end: it is the last key of each multi-get, which memcached answers in order.
final class MemcachedLink {
    /// How many commands make a round, and how many keys one multi-get.
    static let keysPerRequest = 128

    private static let roundAttempts = 4
    private static let incarnationName = "tessera-incarnation"
    private static let plain: UInt32 = 0
    private static let marker: UInt32 = 1

    private let node: CacheNode
    private let timeout: Duration
    private var client: UnsafeMutablePointer<memcached_st>?
    private let result = UnsafeMutablePointer<memcached_result_st>.allocate(capacity: 1)
    private var incarnation: UInt32?

    init(node: CacheNode, timeout: Duration) {
        self.node = node
        self.timeout = timeout
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
        incarnation = nil
    }

    // MARK: Rounds

    /// Carries out all commands of the batches and sets their replies; throws when the node does not answer.
    func perform(_ batches: [CacheBatch]) throws(MemcachedFailure) {
        let wasConnected = client != nil
        do {
            try attempt(batches)
        } catch .node(let reason) {
            // A connection from before a restart of memcached fails at once, and a fresh one works.
            guard wasConnected, reason != MemcachedLink.timedOut else {
                throw .node(reason)
            }
            try attempt(batches)
        }
    }

    private func attempt(_ batches: [CacheBatch]) throws(MemcachedFailure) {
        for _ in 0..<MemcachedLink.roundAttempts {
            if incarnation == nil { try learnIncarnation() }
            guard let current = incarnation else { continue }
            var reading = Reading(incarnation: current)
            for batch in batches {
                batch.replies.removeAll(keepingCapacity: true)
                for command in batch.commands {
                    batch.replies.append(try begin(command, current, &reading))
                }
            }
            let read = try multiGet(reading.names)
            guard incarnation == current else { continue }
            for batch in batches {
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
        var names: [String] = []
        var indices: [CacheKey: Int] = [:]

        mutating func add(_ key: CacheKey) {
            guard indices[key] == nil else { return }
            indices[key] = names.count
            names.append(MemcachedLink.name(key, incarnation))
        }
    }

    /// Sends what changes something; what is read follows with the round's multi-get.
    private func begin(
        _ command: CacheCommand,
        _ current: UInt32,
        _ reading: inout Reading
    ) throws(MemcachedFailure) -> CacheReply {
        switch command {
        case .get(let key):
            reading.add(key)
            return .value(nil)
        case .set(let key, let value, let seconds):
            return .done(try put(memcached_set, key, current, value, seconds, MemcachedLink.plain))
        case .add(let key, let value, let seconds):
            return .done(try put(memcached_add, key, current, value, seconds, MemcachedLink.plain))
        case .delete(let key):
            try delete(key, current)
            return .done(true)
        case .reserve(let key):
            reading.add(key)
            let seconds = CacheLimits.fillTime.cacheSeconds
            let put = try put(memcached_add, key, current, [], seconds, MemcachedLink.marker)
            return .done(put)
        case .store(let key, let value, let seconds, let token):
            guard token.incarnation == current else { return .done(false) }
            return .done(try compareAndSet(key, value, seconds, token))
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
        case .reserve(let key):
            let isOurs = reply.isDone
            guard let item = read[reading.indices[key]!] else {
                reply = .reservation(.taken)
                return
            }
            if !item.isMarker {
                reply = .reservation(.filled(item.value))
            } else if isOurs {
                let token = CacheToken(unique: item.unique, incarnation: reading.incarnation)
                reply = .reservation(.owned(token: token))
            } else {
                reply = .reservation(.taken)
            }
        case .set, .add, .delete, .store:
            break
        }
    }

    // MARK: Incarnation

    /// Reads the node's incarnation, or gives it one if it has none.
    func learnIncarnation() throws(MemcachedFailure) {
        _ = try multiGet([])
        guard incarnation == nil else { return }
        _ = try putIncarnation(memcached_add)
        _ = try multiGet([])
    }

    /// Puts everything on the node out of reach.
    func renewIncarnation() throws(MemcachedFailure) {
        incarnation = nil
        guard try putIncarnation(memcached_set) else { try fail("it takes no incarnation") }
        _ = try multiGet([])
    }

    private func putIncarnation(_ call: Put) throws(MemcachedFailure) -> Bool {
        let text = MemcachedLink.digits(UInt32.random(in: 1...UInt32.max))
        return try put(
            call,
            MemcachedLink.incarnationName,
            Array(text.utf8),
            0,
            MemcachedLink.plain
        )
    }

    private static func digits(_ value: UInt32) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: 8 - text.utf8.count) + text
    }

    private static func name(_ key: CacheKey, _ incarnation: UInt32) -> String {
        "\(digits(incarnation)):\(key.pool.rawValue):\(key.name)"
    }

    // MARK: Calls

    private struct Item {
        let value: [UInt8]
        let isMarker: Bool
        let unique: UInt64
    }

    /// Reads the named items, and the node's incarnation after them.
    private func multiGet(_ names: [String]) throws(MemcachedFailure) -> [Item?] {
        var items: [Item?] = []
        items.reserveCapacity(names.count)
        repeat {
            let part = names[items.count...].prefix(MemcachedLink.keysPerRequest - 1)
            var read = try request(Array(part) + [MemcachedLink.incarnationName])
            let last = read.removeLast()
            items += read
            let text = last.map { String(decoding: $0.value, as: UTF8.self) }
            let found = text.flatMap { UInt32($0, radix: 16) }
            if let known = incarnation, known != found {
                // What was read may be of another life of the node.
                incarnation = found
                return Array(repeating: nil, count: names.count)
            }
            incarnation = found
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
            items.append(
                Item(value: [UInt8](value), isMarker: flags == MemcachedLink.marker, unique: unique)
            )
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
        _ key: CacheKey,
        _ incarnation: UInt32,
        _ value: [UInt8],
        _ seconds: Int,
        _ flags: UInt32
    ) throws(MemcachedFailure) -> Bool {
        try put(call, MemcachedLink.name(key, incarnation), value, seconds, flags)
    }

    private func put(
        _ call: Put,
        _ name: String,
        _ value: [UInt8],
        _ seconds: Int,
        _ flags: UInt32
    ) throws(MemcachedFailure) -> Bool {
        let client = try connected()
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
        _ key: CacheKey,
        _ value: [UInt8],
        _ seconds: Int,
        _ token: CacheToken
    ) throws(MemcachedFailure) -> Bool {
        let client = try connected()
        let name = MemcachedLink.name(key, token.incarnation)
        let status = value.withUnsafeBytes { bytes in
            memcached_cas(
                client,
                name,
                name.utf8.count,
                bytes.bindMemory(to: CChar.self).baseAddress,
                bytes.count,
                seconds,
                MemcachedLink.plain,
                token.unique
            )
        }
        switch status {
        case MEMCACHED_SUCCESS, MEMCACHED_STORED: return true
        case MEMCACHED_NOTFOUND, MEMCACHED_DATA_EXISTS, MEMCACHED_NOTSTORED: return false
        case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE, MEMCACHED_E2BIG: return false
        default: try fail(status)
        }
    }

    private func delete(_ key: CacheKey, _ incarnation: UInt32) throws(MemcachedFailure) {
        let name = MemcachedLink.name(key, incarnation)
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
