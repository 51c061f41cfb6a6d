import EventLoops
import JSON
import Logging
import Metrics

/// Hints between processes, over NATS core, from one loop.
///
/// What is published may be lost: while the server is away, while a queue is full, when a process dies. So
/// nothing may depend on it but speed. Publishing never waits and never fails; the client connects again for as
/// long as it takes, and then tells those who listen that they may have missed something.
package final class BusClient: @unchecked Sendable {
    // @unchecked: touched on its loop only.
    package typealias Body = (_ payload: [UInt8]) -> Void

    package let loop: EventLoop
    /// Nil where there is no bus: then nothing is published and nothing comes.
    private let settings: BusSettings?
    private let log: Logger
    private let published: Counter
    private let dropped: Counter
    private let received: Counter
    private let connections: Gauge

    private var link: BusLink?
    private var output: [UInt8] = []
    private var isFlushing = false
    /// What was published once in this turn.
    private var said: Set<String> = []
    private var failures = 0
    private var isStopped = false

    private var subscriptions: [Int: (subject: String, body: Body)] = [:]
    private var lastSubscription = 0
    private var connectBodies: [() -> Void] = []

    package init(
        loop: EventLoop,
        settings: BusSettings?,
        metrics: MetricsRegistry,
        log: Logger
    ) {
        self.loop = loop
        self.settings = settings
        self.log = log
        published = metrics.counter(
            "tessera_bus_published_total",
            help: "Hints that were handed to the bus."
        )
        dropped = metrics.counter(
            "tessera_bus_dropped_total",
            help: "Hints that were not published, since the bus was away or too slow."
        )
        received = metrics.counter("tessera_bus_received_total", help: "Hints that came.")
        connections = metrics.gauge("tessera_bus_connected", help: "Loops that reach the bus.")
    }

    package private(set) var isConnected = false

    package func start() {
        loop.assertOnLoop()
        connect()
    }

    /// Says goodbye to the server; what was published in this turn still goes out.
    package func stop() {
        isStopped = true
        flush()
        link?.close()
        link = nil
        lost()
    }

    // MARK: Publishing

    /// Publishes to whoever listens now. A subject is words of letters, digits, `-` and `_` with dots between.
    package func publish(_ subject: String, _ payload: [UInt8] = []) {
        guard isConnected, let settings, let link,
            output.count + link.queuedBytes + payload.count < settings.queueBytes
        else { return dropped.add() }
        published.add()
        write("PUB \(subject) \(payload.count)\r\n")
        output += payload
        output += [13, 10]
    }

    /// Publishes a word without a payload, unless the same was published in this turn.
    package func publishOnce(_ subject: String) {
        guard said.insert(subject).inserted else { return }
        loop.atEndOfTurn { self.said.remove(subject) }
        publish(subject)
    }

    /// All of one turn goes out together.
    private func write(_ text: String) {
        output += text.utf8
        guard !isFlushing else { return }
        isFlushing = true
        loop.atEndOfTurn { self.flush() }
    }

    private func flush() {
        isFlushing = false
        guard !output.isEmpty else { return }
        link?.send(output)
        output.removeAll(keepingCapacity: output.capacity <= 65_536)
    }

    // MARK: Listening

    /// Calls `body` with each payload that comes under a subject, until the subscription is cancelled.
    package func subscribe(_ subject: String, _ body: @escaping Body) -> BusSubscription {
        loop.assertOnLoop()
        lastSubscription += 1
        subscriptions[lastSubscription] = (subject, body)
        if isConnected { write("SUB \(subject) \(lastSubscription)\r\n") }
        return BusSubscription(client: self, number: lastSubscription)
    }

    fileprivate func cancel(_ number: Int) {
        guard subscriptions.removeValue(forKey: number) != nil else { return }
        if isConnected { write("UNSUB \(number)\r\n") }
    }

    /// Calls `body` each time that the bus is reached: hints may have been lost until then.
    package func onConnect(_ body: @escaping () -> Void) {
        connectBodies.append(body)
        if isConnected { body() }
    }

    // MARK: The connection

    private func connect() {
        guard let settings, !isStopped else { return }
        link = BusLink(loop: loop, settings: settings) { [weak self] in self?.heard($0) }
    }

    private func heard(_ event: BusLink.Event) {
        switch event {
        case .connected:
            failures = 0
            isConnected = true
            connections.set(1)
            log.info("bus reached")
            for (number, subscription) in subscriptions.sorted(by: { $0.key < $1.key }) {
                write("SUB \(subscription.subject) \(number)\r\n")
            }
            for body in connectBodies { body() }
        case .message(let subscription, let payload):
            received.add()
            subscriptions[subscription]?.body(payload)
        case .lost(let reason):
            link = nil
            if isConnected || failures == 0 {
                log.notice("bus lost", metadata: ["reason": "\(reason)"])
            }
            lost()
            retry()
        }
    }

    private func lost() {
        isConnected = false
        connections.set(0)
        output = []
    }

    private func retry() {
        guard let settings, !isStopped else { return }
        let pause = min(settings.firstPause * (1 << min(failures, 10)), settings.longestPause)
        failures += 1
        // A restarted server must not meet all its clients in one moment.
        let spread = Double.random(in: 0.5...1)
        loop.after(pause * spread) { [weak self] in self?.connect() }
    }
}

/// One subscription; it ends when it is cancelled, not when it is let go.
package struct BusSubscription {
    fileprivate weak var client: BusClient?
    fileprivate let number: Int

    package func cancel() { client?.cancel(number) }
}
