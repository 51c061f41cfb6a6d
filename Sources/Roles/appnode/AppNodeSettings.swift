import Glibc
import Logging
import Settings

/// What an app node is told.
struct AppNodeSettings: Sendable {
    static let table: [Setting] =
        [
            Setting("http.address", default: "127.0.0.1", "Where the API listens."),
            Setting("http.port", .integer(0...65_535), default: "15100", "Its port."),
            Setting(
                "http.trust_forwarded",
                .flag,
                default: "true",
                "Whether X-Forwarded-For and -Proto come from a balancer of ours."
            ),
            Setting(
                "http.request_seconds",
                .integer(1...300),
                default: "15",
                "How long a request may take until it is answered with 503."
            ),
            Setting("http.connections", .integer(1...1_000_000), default: "10000", "Per loop."),
            Setting(
                "drain.notice_milliseconds",
                .integer(0...60_000),
                default: "1500",
                "How long /readyz fails before the port closes: longer than the balancer's check."
            ),
            Setting(
                "tokens.keys_file",
                default: "",
                "File with the keys that sign access tokens."
            ),
            Setting(
                "accounts.open_signup",
                .flag,
                default: "true",
                "Whether anybody may sign up."
            ),
            Setting("log.access", .flag, default: "true", "Whether each answer makes a line."),
            Setting(
                "test.failpoints",
                .flag,
                default: "false",
                "Whether a request may end the process before its answer; for tests alone."
            ),
        ] + Setting.shared

    let values: SettingValues

    init(_ values: SettingValues) {
        self.values = values
    }

    var address: String { values.text("http.address") }
    var port: Int { values.integer("http.port") }
    var metricsAddress: String { values.text("metrics.address") }
    var metricsPort: Int { values.integer("metrics.port") }
    var publicURL: String { values.text("public.url") }
    var logLevel: Logger.Level { Logger.Level(rawValue: values.text("log.level")) ?? .info }

    var loops: Int {
        let asked = values.integer("loops")
        return asked > 0 ? asked : max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// Host and port of the public address.
    var domain: String {
        let url = publicURL
        guard let scheme = url.firstRange(of: "://") else { return url }
        return String(url[scheme.upperBound...].prefix { $0 != "/" })
    }
}
