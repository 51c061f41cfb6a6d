import Accounts
import Bus
import Contracts
import Crypto
import EventLoops
import Logging
import Logs
import Media
import Metrics
import Objects
import ServiceKit
import Settings

/// What the loops of one process share: nothing in it changes, or it keeps itself in order.
struct NodeParts: Sendable {
    /// Threads for files, and for pictures; each has a queue of its own, so that a slow disk delays no log-in.
    private static let fileThreads = 4
    private static let imageThreads = 2
    private static let queueLimit = 256

    let settings: AppNodeSettings
    let metrics: MetricsRegistry
    let sink: LogSink
    let log: Logger
    let health: NodeHealth
    let security: AccountsSecurity
    let objects: DirectoryStore
    let images: ImageProcessor
    let bus: BusSettings?

    /// What other nodes of the installation know this one by.
    let peers: PeerSecret

    init(
        settings: AppNodeSettings,
        metrics: MetricsRegistry,
        sink: LogSink,
        log: Logger,
        health: NodeHealth
    ) throws {
        self.settings = settings
        self.metrics = metrics
        self.sink = sink
        self.log = log
        self.health = health
        try settings.checkServices()
        bus = try BusSettings(settings.values)
        let keys = try Self.keys(settings, log)
        security = AccountsSecurity(keys: keys)
        peers = PeerSecret(keys: keys)
        let root = settings.values.text("objects.directory")
        guard !root.isEmpty else {
            throw SettingsError("objects.directory is not set: say where media files are kept")
        }
        objects = try DirectoryStore(
            root: root,
            offload: Offload(
                threads: Self.fileThreads,
                queueLimit: Self.queueLimit,
                name: "files"
            )
        )
        images = ImageProcessor(
            offload: Offload(
                threads: Self.imageThreads,
                queueLimit: Self.queueLimit,
                name: "images"
            )
        )
    }

    /// What calls a service that this node does not run.
    func caller(of service: ServiceName, on loop: EventLoop) -> ServiceCaller {
        ServiceCaller(
            loop: loop,
            service: service,
            address: settings.peerURL,
            secret: peers,
            metrics: metrics
        )
    }

    private static func keys(_ settings: AppNodeSettings, _ log: Logger) throws -> KeyRing {
        let path = settings.values.text("tokens.keys_file")
        guard !path.isEmpty else {
            log.warning("no tokens.keys_file: tokens are good until this process ends")
            return KeyRing.random()
        }
        do {
            return try KeyRing(parsing: SecretFile.text(path))
        } catch let error as KeyRing.ParseError {
            throw SettingsError("tokens.keys_file \(path): \(error)")
        }
    }
}
