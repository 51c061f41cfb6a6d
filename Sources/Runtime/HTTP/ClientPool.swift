import EventLoops

/// The connections of a client to one host and port.
final class ClientPool {
    let endpoint: HTTPClient.Endpoint
    private unowned let client: HTTPClient
    private var idle: [ClientConnection] = []
    private var open: [ObjectIdentifier: ClientConnection] = [:]
    private var waiting = Ring<ClientExchange>()
    private var sweeper: LoopTimer?
    private var isClosed = false

    init(client: HTTPClient, endpoint: HTTPClient.Endpoint) {
        self.client = client
        self.endpoint = endpoint
    }

    /// Sends the exchange on a kept connection or a new one, or lets it wait for one.
    func start(_ exchange: ClientExchange) {
        guard !exchange.isOver else { return }
        guard !isClosed else { return exchange.fail(.closed) }
        if !exchange.isRetry, let kept = idle.popLast() {
            kept.begin(exchange)
        } else if open.count < client.limits.connectionsPerHost {
            connect(for: exchange)
        } else if let kept = idle.popLast() {
            // A retry wants a new connection; at the bound an old one makes room.
            kept.abort(.closed)
            connect(for: exchange)
        } else if waiting.count < client.limits.waitingPerHost {
            waiting.append(exchange)
        } else {
            exchange.fail(.overloaded)
        }
    }

    private func connect(for exchange: ClientExchange) {
        let connection = ClientConnection(client: client, pool: self)
        open[ObjectIdentifier(connection)] = connection
        connection.open(for: exchange)
    }

    /// A connection has nothing to do: the next exchange gets it, or it is kept.
    func release(_ connection: ClientConnection) {
        guard !isClosed else { return connection.abort(.closed) }
        while let next = waiting.popFirst() {
            if !next.isOver { return connection.begin(next) }
        }
        idle.append(connection)
        if sweeper == nil { scheduleSweep() }
    }

    /// A connection has closed: whoever waits may open another.
    func remove(_ connection: ClientConnection) {
        guard open.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
        idle.removeAll { $0 === connection }
        while !isClosed, let next = waiting.popFirst() {
            if !next.isOver { return start(next) }
        }
        if open.isEmpty {
            sweeper?.cancel()
            sweeper = nil
            client.forget(self)
        }
    }

    func close() {
        isClosed = true
        sweeper?.cancel()
        sweeper = nil
        while let next = waiting.popFirst() { next.fail(.closed) }
        for connection in open.values { connection.abort(.closed) }
    }

    private func scheduleSweep() {
        let limit = client.limits.idleTimeout
        sweeper = client.loop.after(limit / 2) { [weak self] in
            guard let self else { return }
            sweeper = nil
            let now = client.loop.milliseconds
            for connection in idle where now &- connection.idleSince >= limit.wholeMilliseconds {
                connection.abort(.closed)
            }
            if !idle.isEmpty { scheduleSweep() }
        }
    }
}
