import Crypto
package import EventLoops
import HTTP
import JSON

/// etcd, spoken to over its HTTP gateway from one loop.
///
/// For the control plane only: no request of a user ever waits for it. Reads, and whatever surely was not sent,
/// are tried at the next endpoint when one does not answer; a write whose connection is lost throws
/// ``EtcdError/outcomeUnknown``. A token that has expired is replaced and the call repeated.
package final class EtcdClient: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    package let loop: EventLoop
    package let settings: EtcdSettings

    private let http: HTTPClient
    private var endpoint = 0
    private var token: String?

    package init(loop: EventLoop, settings: EtcdSettings) {
        self.loop = loop
        self.settings = settings
        http = HTTPClient(loop: loop)
    }

    package func close() {
        http.close()
    }

    // MARK: Keys

    package func get(_ key: String) async throws(EtcdError) -> EtcdEntry? {
        try await snapshot(of: key).entries.first
    }

    /// The key's entry, if there is one, and the revision to watch from.
    package func snapshot(of key: String) async throws(EtcdError) -> EtcdSnapshot {
        try await range(key: key, end: nil)
    }

    /// All keys that begin with `prefix`, in order.
    package func snapshot(prefix: String) async throws(EtcdError) -> EtcdSnapshot {
        try await range(key: prefix, end: rangeEnd(ofPrefix: prefix))
    }

    private func range(key: String, end: [UInt8]?) async throws(EtcdError) -> EtcdSnapshot {
        let answer = try await call("/v3/kv/range", repeatable: true) { json in
            json.field("key", Base64.encode(key.utf8))
            if let end { json.field("range_end", Base64.encode(end)) }
        }
        var entries: [EtcdEntry] = []
        for kv in answer["kvs"]?.array ?? [] { entries.append(try entry(kv)) }
        return EtcdSnapshot(entries: entries, revision: try headerRevision(answer))
    }

    /// Writes the key whatever it holds; gives the revision of the write.
    @discardableResult
    package func put(
        _ key: String,
        _ value: [UInt8],
        lease: EtcdLease? = nil
    ) async throws(EtcdError) -> Int64 {
        let answer = try await call("/v3/kv/put", repeatable: false) { json in
            EtcdTransaction.writePut(key, value, lease, to: &json)
        }
        return try headerRevision(answer)
    }

    /// Writes the key only if it is as expected; gives the revision of the write, or nil if it is not.
    package func put(
        _ key: String,
        _ value: [UInt8],
        expecting expectation: EtcdExpectation,
        lease: EtcdLease? = nil
    ) async throws(EtcdError) -> Int64? {
        try await commit(
            EtcdTransaction(
                expecting: [(key, expectation)],
                [.put(key, value, lease: lease)]
            )
        )
    }

    /// Removes the key; with an expectation only if it is met. Says whether the key was removed.
    @discardableResult
    package func delete(
        _ key: String,
        expecting expectation: EtcdExpectation? = nil
    ) async throws(EtcdError) -> Bool {
        guard let expectation else {
            let answer = try await call("/v3/kv/deleterange", repeatable: false) { json in
                json.field("key", Base64.encode(key.utf8))
            }
            return answer["deleted"]?.string.map { $0 != "0" } ?? false
        }
        let transaction = EtcdTransaction(expecting: [(key, expectation)], [.delete(key)])
        return try await commit(transaction) != nil
    }

    /// Carries out all operations if every expectation is met, and none otherwise; gives the revision at which
    /// they happened, or nil.
    package func commit(_ transaction: EtcdTransaction) async throws(EtcdError) -> Int64? {
        let answer = try await call("/v3/kv/txn", repeatable: false) { json in
            transaction.write(to: &json)
        }
        return answer["succeeded"]?.bool == true ? try headerRevision(answer) : nil
    }

    // MARK: Leases

    package func grantLease(seconds: Int64) async throws(EtcdError) -> EtcdLease {
        let answer = try await call("/v3/lease/grant", repeatable: false) { json in
            json.field("TTL", String(seconds))
        }
        guard let id = int64(answer["ID"]) else { throw .malformed("a lease without an id") }
        return EtcdLease(id: id)
    }

    /// Starts the lease's time anew; false when it has ended.
    package func keepAlive(_ lease: EtcdLease) async throws(EtcdError) -> Bool {
        let answer = try await call("/v3/lease/keepalive", repeatable: true) { json in
            json.field("ID", String(lease.id))
        }
        return (int64(answer["result"]?["TTL"]) ?? 0) > 0
    }

    /// Ends the lease and the keys under it; one that has ended already is left in peace.
    package func revoke(_ lease: EtcdLease) async throws(EtcdError) {
        do {
            _ = try await call("/v3/lease/revoke", repeatable: true) { json in
                json.field("ID", String(lease.id))
            }
        } catch .refused(code: Self.notFound, _) {
            return
        }
    }

    // MARK: Watching

    /// Calls `body` for every change of the key, or of all keys that begin with it, from `revision` on, until
    /// the task is cancelled.
    ///
    /// It goes on after a lost connection where it was, so no change is missed; it throws when etcd has
    /// forgotten the revision (``EtcdError/compacted(revision:)``) or denies access.
    package func watch(
        _ key: String,
        isPrefix: Bool = false,
        from revision: Int64,
        _ body: (EtcdChange) async -> Void
    ) async throws(EtcdError) {
        let end = isPrefix ? rangeEnd(ofPrefix: key) : nil
        var next = revision
        var failures = 0
        while !Task.isCancelled {
            do throws(EtcdError) {
                try await watchOnce(key, end, from: &next, body)
                failures = 0
            } catch {
                switch error {
                case .unavailable, .outcomeUnknown, .malformed: failures += 1
                default: throw error
                }
            }
            try await pause(.milliseconds(min(100 << min(failures, 5), 3_000)))
        }
        throw .cancelled
    }

    private func watchOnce(
        _ key: String,
        _ end: [UInt8]?,
        from next: inout Int64,
        _ body: (EtcdChange) async -> Void
    ) async throws(EtcdError) {
        let from = next
        let response = try await open("/v3/watch", repeatable: true) { json in
            json.key("create_request")
            json.object { json in
                json.field("key", Base64.encode(key.utf8))
                if let end { json.field("range_end", Base64.encode(end)) }
                json.field("start_revision", String(from))
            }
        }
        defer { response.discard() }
        var line: [UInt8] = []
        while true {
            // Silence ends the stream with an error, after which the watch is opened anew.
            let silence = loop.after(settings.watchSilence) { response.discard() }
            let piece: [UInt8]?
            do throws(HTTPClientError) {
                piece = try await response.body.next()
                silence.cancel()
            } catch {
                silence.cancel()
                throw .unavailable("\(error)")
            }
            guard let piece else { return }
            for byte in piece {
                guard byte == UInt8(ascii: "\n") else {
                    line.append(byte)
                    continue
                }
                try await take(line, &next, body)
                line.removeAll(keepingCapacity: true)
            }
            guard line.count <= settings.answerLimit else { throw .malformed("an endless line") }
        }
    }

    private func take(
        _ line: [UInt8],
        _ next: inout Int64,
        _ body: (EtcdChange) async -> Void
    ) async throws(EtcdError) {
        guard !line.isEmpty else { return }
        let message = try parse(line)
        guard let result = message["result"] else { throw failure(in: message["error"] ?? message) }
        if result["canceled"]?.bool == true {
            if let compacted = int64(result["compact_revision"]), compacted > 0 {
                throw .compacted(revision: compacted)
            }
            // A watch that a token's end has cancelled is opened anew with a new token.
            token = nil
            throw .unavailable(result["cancel_reason"]?.string ?? "the watch was cancelled")
        }
        for event in result["events"]?.array ?? [] {
            guard let kv = event["kv"] else { throw .malformed("an event without a key") }
            if event["type"]?.string == "DELETE" {
                let key = try decodedKey(kv)
                let revision = int64(kv["mod_revision"]) ?? next
                await body(.deleted(key: key, revision: revision))
                next = max(next, revision + 1)
            } else {
                let entry = try entry(kv)
                await body(.put(entry))
                next = max(next, entry.revision + 1)
            }
        }
    }

    // MARK: Calls

    private static let notFound = 5
    private static let invalidArgument = 3
    private static let permissionDenied = 7
    private static let failedPrecondition = 9
    private static let unavailable = 14
    private static let unauthenticated = 16

    private func call(
        _ path: String,
        repeatable: Bool,
        _ write: (inout JSONWriter) -> Void
    ) async throws(EtcdError) -> JSONValue {
        let response = try await open(path, repeatable: repeatable, write)
        return try parse(await collect(response, repeatable: repeatable))
    }

    /// Sends the request with a token, to the first endpoint that answers, and gives an answer of 200.
    private func open(
        _ path: String,
        repeatable: Bool,
        _ write: (inout JSONWriter) -> Void
    ) async throws(EtcdError) -> ClientResponse {
        var json = JSONWriter()
        json.object { json in write(&json) }
        for isLast in [false, true] {
            try await authenticate()
            do throws(EtcdError) {
                return try await send(path, json.bytes, repeatable: repeatable)
            } catch {
                guard !isLast, settings.user != nil, isStaleToken(error) else { throw error }
                token = nil
            }
        }
        preconditionFailure("the last attempt returns or throws")
    }

    private func isStaleToken(_ error: EtcdError) -> Bool {
        switch error {
        case .denied: true
        case .refused(Self.unauthenticated, _): true
        case .refused(Self.invalidArgument, let message): message.contains("auth")
        default: false
        }
    }

    private func authenticate() async throws(EtcdError) {
        guard token == nil, let user = settings.user else { return }
        var json = JSONWriter()
        json.object { json in
            json.field("name", user)
            json.field("password", settings.password ?? "")
        }
        do throws(EtcdError) {
            let response = try await send("/v3/auth/authenticate", json.bytes, repeatable: true)
            token = try parse(await collect(response, repeatable: true))["token"]?.string
        } catch {
            switch error {
            // This etcd has no users yet.
            case .refused(Self.failedPrecondition, _): return
            case .refused(Self.invalidArgument, let message): throw .denied(message)
            default: throw error
            }
        }
    }

    private func send(
        _ path: String,
        _ body: [UInt8],
        repeatable: Bool
    ) async throws(EtcdError) -> ClientResponse {
        var reason = ""
        for _ in settings.endpoints {
            let address = settings.endpoints[endpoint]
            var headers: Headers = ["Content-Type": "application/json"]
            if let token { headers["Authorization"] = token }
            guard
                let request = ClientRequest(
                    .post,
                    url: address + path,
                    headers: headers,
                    body: body
                )
            else { throw .unavailable("'\(address)' is not an http:// address") }
            let response: ClientResponse
            do {
                response = try await http.send(request, timeout: settings.timeout)
            } catch {
                if error == .cancelled { throw .cancelled }
                reason = "\(address): \(error)"
                nextEndpoint()
                guard repeatable || error.wasNotSent else { throw .outcomeUnknown }
                continue
            }
            if response.status == 200 { return response }
            let answer = try parse(await collect(response, repeatable: repeatable))
            let error = failure(in: answer)
            guard case .unavailable(let why) = error else { throw error }
            reason = "\(address): \(why)"
            nextEndpoint()
        }
        throw .unavailable(reason)
    }

    private func nextEndpoint() {
        endpoint = (endpoint + 1) % settings.endpoints.count
    }

    private func collect(
        _ response: ClientResponse,
        repeatable: Bool
    ) async throws(EtcdError) -> [UInt8] {
        let timer = loop.after(settings.timeout) { response.discard() }
        defer { timer.cancel() }
        do {
            return try await response.body.collect(upTo: settings.answerLimit)
        } catch {
            throw repeatable ? .unavailable("\(error)") : .outcomeUnknown
        }
    }

    private func pause(_ duration: Duration) async throws(EtcdError) {
        do {
            try await loop.sleep(for: duration)
        } catch {
            throw .cancelled
        }
    }

    // MARK: Reading answers

    private func parse(_ bytes: [UInt8]) throws(EtcdError) -> JSONValue {
        do {
            return try JSONReader.parse(bytes, limit: settings.answerLimit)
        } catch {
            throw .malformed("\(error)")
        }
    }

    private func failure(in answer: JSONValue?) -> EtcdError {
        let code = answer?["code"]?.int ?? answer?["grpc_code"]?.int ?? 0
        let message = answer?["message"]?.string ?? answer?["error"]?.string ?? "no reason given"
        switch code {
        case Self.unavailable: return .unavailable(message)
        case Self.permissionDenied: return .denied(message)
        default: return .refused(code: code, message: message)
        }
    }

    private func entry(_ kv: JSONValue) throws(EtcdError) -> EtcdEntry {
        guard let revision = int64(kv["mod_revision"]),
            let value = Base64.decode(kv["value"]?.string ?? "")
        else { throw .malformed("a key without a revision") }
        return EtcdEntry(key: try decodedKey(kv), value: value, revision: revision)
    }

    private func decodedKey(_ kv: JSONValue) throws(EtcdError) -> String {
        guard let key = kv["key"]?.string.flatMap(Base64.decode) else {
            throw .malformed("an entry without a key")
        }
        return String(decoding: key, as: UTF8.self)
    }

    private func headerRevision(_ answer: JSONValue) throws(EtcdError) -> Int64 {
        guard let revision = int64(answer["header"]?["revision"]) else {
            throw .malformed("an answer without a revision")
        }
        return revision
    }

    /// The gateway writes 64-bit numbers as strings.
    private func int64(_ value: JSONValue?) -> Int64? {
        value?.string.flatMap { Int64($0) } ?? value?.int64
    }
}
