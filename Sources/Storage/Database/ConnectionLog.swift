package import Logging
internal import Postgres

extension DatabaseSettings {
    /// These settings, with `log` told what happens to the connections of every shard, and what the servers
    /// refuse.
    package func reporting(to log: Logger) -> DatabaseSettings {
        var copy = self
        copy.adjust = { [adjust] settings in
            adjust(&settings)
            settings.onEvent = { log.note($0) }
        }
        return copy
    }
}

extension Logger {
    fileprivate func note(_ event: PostgresEvent) {
        switch event {
        case .connected(let host, let port):
            debug("connected to PostgreSQL", metadata: ["server": "\(host):\(port)"])
        case .connectFailed(let host, let port, let reason):
            warning(
                "no connection to PostgreSQL",
                metadata: ["server": "\(host):\(port)", "reason": "\(reason)"]
            )
        case .lost(let reason):
            warning("lost a connection to PostgreSQL", metadata: ["reason": "\(reason)"])
        case .notice(let severity, let message):
            debug("PostgreSQL says", metadata: ["severity": "\(severity)", "text": "\(message)"])
        case .refused(let sqlstate, let message):
            // The text is the server's and may quote what a client sent: for the log only.
            self.log(
                level: Self.isOrdinary(sqlstate) ? .debug : .error,
                "PostgreSQL refused a statement",
                metadata: ["sqlstate": "\(sqlstate)", "text": "\(message)"]
            )
        }
    }

    /// Refusals that the code counts on: constraints, fences, conflicts, time limits.
    private static func isOrdinary(_ sqlstate: String) -> Bool {
        ["23", "40", "55", "57", "TF", "TI"].contains { sqlstate.hasPrefix($0) }
    }
}
