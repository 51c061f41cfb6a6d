import Hummingbird
import Logging
import NIOPosix

/// The same small answer from Hummingbird 2, on one event-loop thread.
@main
struct Hello {
    static func main() async throws {
        let port = Int(CommandLine.arguments.dropFirst().first ?? "") ?? 8080
        let body = ByteBuffer(
            string:
                #"{"id":"1234567890","name":"hello","text":"a small answer of one hundred bytes, "#
                + #"no more no less"}    "#
        )
        let router = Router()
        router.get("/hello") { _, _ in
            Response(
                status: .ok,
                headers: [.contentType: "application/json"],
                body: ResponseBody(byteBuffer: body)
            )
        }
        var logger = Logger(label: "peer")
        logger.logLevel = .error
        let app = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: port)),
            eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup(numberOfThreads: 1)),
            logger: logger
        )
        try await app.runService()
    }
}
