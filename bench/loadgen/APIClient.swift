import EventLoops
import HTTP
import JSON

/// Calls the public API as a patient app does: each write carries an idempotency key and is repeated
/// under that key until it is acknowledged or until its time is up.
final class APIClient: @unchecked Sendable {
    // @unchecked: touched on `loop` only.

    /// How long one write is repeated before the run counts it as never acknowledged.
    static let patience = Duration.seconds(180)
    static let attemptTimeout = Duration.seconds(10)
    static let answerBytes = 4 << 20

    let loop: EventLoop
    private let http: HTTPClient
    private let host: String
    private let port: Int
    private var random: SplitMix64
    private(set) var repeated = 0
    private(set) var latencies: [String: [Double]] = [:]

    init(loop: EventLoop, host: String, port: Int, connections: Int, seed: UInt64) {
        self.loop = loop
        self.host = host
        self.port = port
        var limits = HTTPClientLimits()
        limits.connectionsPerHost = connections
        http = HTTPClient(loop: loop, limits: limits)
        random = SplitMix64(seed: seed)
    }

    struct Failure: Error, CustomStringConvertible {
        var call: String
        var status: Int?
        var detail: String

        var description: String { "\(call): \(status.map(String.init) ?? "no answer"), \(detail)" }
    }

    struct Answer {
        var status: Int
        var json: JSONValue?
        var attempts: Int
    }

    /// A body together with its media type.
    struct Payload {
        var type: String
        var bytes: [UInt8]

        static func form(_ fields: KeyValuePairs<String, String>) -> Payload {
            let pairs = fields.map { "\(escape($0.key))=\(escape($0.value))" }
            return Payload(
                type: "application/x-www-form-urlencoded",
                bytes: Array(pairs.joined(separator: "&").utf8)
            )
        }

        static func photo(_ photo: [UInt8]) -> Payload {
            let boundary = "tessera-load-boundary"
            let head = """
                --\(boundary)\r
                Content-Disposition: form-data; name="file"; filename="photo.jpg"\r
                Content-Type: image/jpeg\r
                \r\n
                """
            return Payload(
                type: "multipart/form-data; boundary=\(boundary)",
                bytes: Array(head.utf8) + photo + Array("\r\n--\(boundary)--\r\n".utf8)
            )
        }

        private static func escape(_ text: String) -> String {
            var out = ""
            for byte in text.utf8 {
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    out.unicodeScalars.append(Unicode.Scalar(byte))
                default:
                    let hex = String(byte, radix: 16, uppercase: true)
                    out += hex.count == 1 ? "%0\(hex)" : "%\(hex)"
                }
            }
            return out
        }
    }

    /// Repeats the call until the server answers with a status below 500 that is not 409 or 429.
    ///
    /// Throws ``Failure`` for a status of 400 and above that is not in `accepting`, and when
    /// ``patience`` has run out.
    func call(
        _ method: Method,
        _ path: String,
        token: String? = nil,
        payload: Payload? = nil,
        accepting: Set<Int> = []
    ) async throws -> Answer {
        var headers: Headers = ["Accept": "application/json"]
        if let token { headers["Authorization"] = "Bearer \(token)" }
        if let payload { headers["Content-Type"] = payload.type }
        if method != .get {
            headers["Idempotency-Key"] = "\(random.next())-\(random.next())"
        }
        let request = ClientRequest(
            method,
            host: host,
            port: port,
            target: path,
            headers: headers,
            body: payload?.bytes ?? []
        )
        let name = "\(method.rawValue) \(path.prefix { $0 != "?" })"
        let started = EventLoop.nanoseconds
        var attempts = 0
        var last = "no attempt was made"
        var lastStatus: Int?
        while Duration.nanoseconds(Int64(EventLoop.nanoseconds - started)) < APIClient.patience {
            attempts += 1
            let sent = EventLoop.nanoseconds
            do {
                let response = try await http.send(request, timeout: APIClient.attemptTimeout)
                let bytes = try await response.body.collect(upTo: APIClient.answerBytes)
                let status = response.status.code
                note(method, since: sent)
                if status < 500 && status != 409 && status != 429 {
                    guard status < 400 || accepting.contains(status) else {
                        throw Failure(
                            call: name,
                            status: status,
                            detail: String(decoding: bytes.prefix(300), as: UTF8.self)
                        )
                    }
                    let json =
                        try bytes.isEmpty
                        ? nil : JSONReader.parse(bytes, limit: APIClient.answerBytes)
                    return Answer(status: status, json: json, attempts: attempts)
                }
                (last, lastStatus) = (String(decoding: bytes.prefix(200), as: UTF8.self), status)
            } catch let failure as Failure {
                throw failure
            } catch {
                (last, lastStatus) = ("\(error)", nil)
            }
            repeated += 1
            try await loop.sleep(for: pause(after: attempts))
        }
        throw Failure(call: name, status: lastStatus, detail: "gave up; last: \(last)")
    }

    private func note(_ method: Method, since sent: UInt64) {
        latencies[method.rawValue, default: []].append(
            Double(EventLoop.nanoseconds - sent) / 1_000_000
        )
    }

    private func pause(after attempts: Int) -> Duration {
        let most = min(2_000, 50 << min(attempts, 6))
        return .milliseconds(Int.random(in: 25...most, using: &random))
    }
}
