/// A real NATS server with a user.
package final class BusServer: Sendable {
    package static let user = "tester"
    package static let password = "bus-secret"

    package let host = "127.0.0.1"
    package let port: Int
    package let process: ServerProcess

    private init(port: Int, process: ServerProcess) {
        self.port = port
        self.process = process
    }

    package static func start() async throws -> BusServer {
        let port = try TestPorts.take()
        let process = ServerProcess(
            folder: try makeFolder(),
            command: [
                "/usr/sbin/nats-server", "-a", "127.0.0.1", "-p", String(port), "--user", user,
                "--pass", password,
            ]
        )
        let server = BusServer(port: port, process: process)
        try await server.startAgain()
        return server
    }

    /// Starts it after a stop or a kill.
    package func startAgain() async throws {
        try await process.start()
        try await TestPorts.wait(for: port, of: process)
    }
}
