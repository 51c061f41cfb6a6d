import Accounts
import Contracts
import Database
import Etcd
import HTTP
import Media
import Memcache
import Pages
import Posts
import Settings
import Sharding

/// What an app node is told.
struct AppNodeSettings: Sendable {
    static let table: [Setting] =
        [
            Setting(
                "services",
                .list,
                default: everyService,
                "Which services run here: \(ServiceName.allCases.map(\.rawValue).joined(separator: ", ")), or all."
            ),
            Setting(
                "peers.url",
                default: "",
                "Where nodes reach the services that do not run here: http://host:port of the balancer's inner side."
            ),
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
            Setting(
                "interactions.served_per_second",
                .integer(0...1_000_000),
                default: "200",
                "Served pages that each loop records for ranking; further ones are not recorded."
            ),
            Setting(
                "feed.page_seconds",
                .integer(0...60),
                default: "30",
                "How long first pages are kept rendered, and how old what they show may be; 0 keeps none."
            ),
            Setting(
                "feed.withdrawn_seconds",
                .integer(2...30),
                default: "3",
                "How long a shard may be silent before rendered pages are no longer served."
            ),
            Setting("log.access", .flag, default: "true", "Whether each answer makes a line."),
        ] + Setting.shared

    let values: SettingValues

    init(_ values: SettingValues) {
        self.values = values
    }

    var address: String { values.text("http.address") }
    var port: Int { values.integer("http.port") }
    /// Without a final slash, whatever was typed.
    var publicURL: String {
        let url = values.text("public.url")
        return url.hasSuffix("/") ? String(url.dropLast()) : url
    }

    // MARK: Services

    private static let everyService = "all"

    /// Those that run here; checked by ``checkServices()``.
    var services: Set<ServiceName> {
        let names = values.list("services")
        if names.contains(Self.everyService) { return Set(ServiceName.allCases) }
        return Set(names.compactMap { ServiceName(rawValue: $0) })
    }

    func runs(_ service: ServiceName) -> Bool { services.contains(service) }

    /// Without a final slash.
    var peerURL: String {
        let url = values.text("peers.url")
        return url.hasSuffix("/") ? String(url.dropLast()) : url
    }

    func checkServices() throws(SettingsError) {
        for name in values.list("services")
        where name != Self.everyService && ServiceName(rawValue: name) == nil {
            let known = ServiceName.allCases.map(\.rawValue).joined(separator: ", ")
            throw SettingsError("services: there is no \(name); there are \(known), and all")
        }
        guard !services.isEmpty else {
            throw SettingsError("services is empty: name some, or all")
        }
        if !runs(.media), !peerURL.hasPrefix("http://") {
            throw SettingsError(
                "services leaves media out: say in peers.url where its pool is reached"
            )
        }
    }

    // MARK: For the parts

    var accounts: AccountsSettings {
        var accounts = AccountsSettings()
        accounts.openSignUp = values.flag("accounts.open_signup")
        return accounts
    }

    var pageLifetime: Duration { .seconds(values.integer("feed.page_seconds")) }

    var withdrawnLimits: WithdrawnLog.Limits {
        var limits = WithdrawnLog.Limits()
        limits.freshness = .seconds(values.integer("feed.withdrawn_seconds"))
        return limits
    }

    var httpLimits: HTTPLimits {
        var limits = HTTPLimits()
        limits.requestTimeout = .seconds(values.integer("http.request_seconds"))
        limits.connections = values.integer("http.connections")
        return limits
    }

    var cachePools: [CachePool: PoolMap] {
        Dictionary(
            uniqueKeysWithValues: CachePool.allCases.map { pool in
                let nodes = values.list("cache.\(pool.rawValue)").compactMap { CacheNode($0) }
                return (pool, PoolMap(nodes: nodes))
            }
        )
    }

    var database: DatabaseSettings {
        get throws(SettingsError) {
            DatabaseSettings(
                user: values.text("postgres.user"),
                password: try SecretFile.password(values.text("postgres.password_file")),
                applicationName: "appnode"
            )
        }
    }

    /// Types that libvips reads only where it was built with libheif.
    private static let readByHEIF = ["image/heic", "image/heif", "image/avif"]

    var instance: InstanceEntity {
        InstanceEntity(
            domain: domain,
            baseURL: publicURL,
            openSignUp: values.flag("accounts.open_signup"),
            limits: InstanceEntity.Limits(
                statusCharacters: PostsService.characterLimit,
                attachments: PostsService.mediaLimit,
                charactersPerURL: PostsService.charactersPerURL,
                mediaTypes: MediaLimits.mediaTypes.filter {
                    ImageProcessor.readsHEIC || !Self.readByHEIF.contains($0)
                },
                imageBytes: MediaLimits.imageBytes,
                imagePixels: MediaLimits.imagePixels,
                descriptionCharacters: MediaLimits.descriptionCharacters,
                pinnedStatuses: PostsService.pinnedLimit,
                polls: PostsService.pollLimits
            )
        )
    }

    /// Host and port of the public address.
    var domain: String {
        let url = publicURL
        guard let scheme = url.firstRange(of: "://") else { return url }
        return String(url[scheme.upperBound...].prefix { $0 != "/" })
    }
}
