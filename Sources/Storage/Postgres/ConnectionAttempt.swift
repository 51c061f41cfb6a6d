internal import CLibpq
internal import CLibuv
internal import EventLoops
import Glibc

/// One attempt to connect to one host, without blocking the loop; calls back once.
///
/// The hosts of a shard are tried one after the other by ``PostgresLink``, each with its own deadline: libpq's
/// own walk over several hosts would wait for ever for the first that does not answer.
final class ConnectionAttempt {
    enum Outcome {
        case connected(OpaquePointer, NoticeReceiver)
        case failed(String)
    }

    private let loop: EventLoop
    private let settings: PostgresSettings
    private let host: PostgresSettings.Host
    private let blockingCalls: BlockingCalls
    private var onEnd: ((Outcome) -> Void)?
    private var connection: OpaquePointer?
    private var receiver: NoticeReceiver?
    private var poll: SocketPoll?
    private var timer: LoopTimer?
    private var isAsking = false
    private var objection: String?

    init(
        loop: EventLoop,
        settings: PostgresSettings,
        host: PostgresSettings.Host,
        blockingCalls: BlockingCalls,
        onEnd: @escaping (Outcome) -> Void
    ) {
        self.loop = loop
        self.settings = settings
        self.host = host
        self.blockingCalls = blockingCalls
        self.onEnd = onEnd
    }

    func start() {
        timer = loop.after(settings.connectTimeout) { [weak self] in
            self?.end(.failed("no answer in \(self?.settings.connectTimeout ?? .zero)"))
        }
        if BlockingCalls.isNumeric(host.name) {
            open(address: host.name)
        } else {
            resolve()
        }
    }

    /// Ends without calling back.
    func abandon() {
        onEnd = nil
        tearDown()
    }

    private func resolve() {
        let name = host.name
        let reply = LoopReply(loop) { [weak self] (address: String?) in
            guard let self, self.onEnd != nil else { return }
            guard let address else { return self.end(.failed("\(name) has no address")) }
            self.open(address: address)
        }
        let started = blockingCalls.start { reply.send(BlockingCalls.address(of: name)) }
        if !started { end(.failed("too many name lookups under way")) }
    }

    private func open(address: String) {
        let parameters = self.parameters(address: address)
        // libpq copies what the arrays point to before it returns.
        let keys = parameters.map { strdup($0.0) } + [nil]
        let values = parameters.map { strdup($0.1) } + [nil]
        defer { for text in keys + values { free(text) } }
        connection = PQconnectStartParams(
            keys.map { UnsafePointer($0) },
            values.map { UnsafePointer($0) },
            0
        )
        guard connection != nil, PQstatus(connection) != CONNECTION_BAD else {
            return end(.failed(failureText))
        }
        receiver = NoticeReceiver(connection!, settings.onEvent)
        // As if libpq had asked for it: its documentation begins the walk with "writing".
        watch(SocketPoll.writable)
    }

    private func watch(_ events: Int32) {
        poll = SocketPoll(loop: loop, descriptor: PQsocket(connection)) { [unowned self] _, _ in
            step()
        }
        guard let poll else { return end(.failed("no socket to watch")) }
        poll.watch(events)
    }

    private func step() {
        poll.take()?.close()
        if isAsking { return hear() }
        switch PQconnectPoll(connection) {
        case PGRES_POLLING_READING: watch(SocketPoll.readable)
        case PGRES_POLLING_WRITING: watch(SocketPoll.writable)
        case PGRES_POLLING_OK: ask()
        default: end(.failed(failureText))
        }
    }

    // MARK: Who is there

    private func ask() {
        guard let check = settings.identityCheck else { return succeed() }
        // The question is shorter than any socket's buffer, so one flush sends it.
        guard PQsetnonblocking(connection, 1) == 0, PQsendQuery(connection, check.query) == 1,
            PQflush(connection) == 0
        else { return end(.failed(failureText)) }
        isAsking = true
        watch(SocketPoll.readable)
    }

    private func hear() {
        guard PQconsumeInput(connection) == 1 else { return end(.failed(failureText)) }
        while PQisBusy(connection) == 0 {
            guard let result = PQgetResult(connection) else {
                return objection.map { end(.failed($0)) } ?? succeed()
            }
            objection = objection ?? objection(to: result)
            PQclear(result)
        }
        watch(SocketPoll.readable)
    }

    private func objection(to result: OpaquePointer) -> String? {
        guard PQresultStatus(result) == PGRES_TUPLES_OK else { return failureText }
        guard PQntuples(result) > 0 else { return nil }
        let row = (0..<PQnfields(result)).map { column in
            PQgetisnull(result, 0, column) == 1
                ? nil : String(cString: PQgetvalue(result, 0, column))
        }
        return settings.identityCheck?.objection(row)
    }

    private func succeed() {
        let made = connection.take()!
        end(.connected(made, receiver!))
    }

    private var failureText: String {
        guard let connection else { return "out of memory" }
        let text = String(cString: PQerrorMessage(connection))
        return text.split(separator: "\n").joined(separator: " ")
    }

    private func end(_ outcome: Outcome) {
        let callBack = onEnd.take()
        tearDown()
        callBack?(outcome)
    }

    private func tearDown() {
        timer?.cancel()
        timer = nil
        let abandoned = connection.take()
        if let poll = poll.take() {
            let receiver = receiver
            poll.close {
                PQfinish(abandoned)
                withExtendedLifetime(receiver) {}
            }
        } else {
            PQfinish(abandoned)
        }
    }

    private func parameters(address: String) -> [(String, String)] {
        let milliseconds = { (duration: Duration) in String(duration.wholeMilliseconds) }
        let options = [
            "-c statement_timeout=" + milliseconds(settings.statementTimeout),
            "-c idle_in_transaction_session_timeout="
                + milliseconds(settings.idleInTransactionTimeout),
            #"-c default_transaction_isolation=read\ committed"#,
            "-c timezone=UTC",
        ]
        var parameters = [
            ("host", host.name), ("port", String(host.port)),
            ("dbname", settings.database), ("user", settings.user),
            ("application_name", settings.applicationName),
            ("client_encoding", "UTF8"), ("sslmode", settings.tls), ("gssencmode", "disable"),
            ("target_session_attrs", "read-write"),
            ("options", options.joined(separator: " ")),
            // A peer that vanished without a word is noticed by the kernel.
            ("keepalives_idle", "10"), ("keepalives_interval", "3"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "10000"),
        ]
        if !address.hasPrefix("/") { parameters.append(("hostaddr", address)) }
        if let password = settings.password { parameters.append(("password", password)) }
        return parameters
    }
}
