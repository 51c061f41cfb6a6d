internal import CLibpq

/// Takes a connection's notices, which libpq would print to stderr.
final class NoticeReceiver {
    private let onEvent: (@Sendable (PostgresEvent) -> Void)?

    /// Must outlive the connection.
    init(_ connection: OpaquePointer, _ onEvent: (@Sendable (PostgresEvent) -> Void)?) {
        self.onEvent = onEvent
        PQsetNoticeReceiver(
            connection,
            { context, result in
                guard let context, let result else { return }
                Unmanaged<NoticeReceiver>.fromOpaque(context).takeUnretainedValue().take(result)
            },
            Unmanaged.passUnretained(self).toOpaque()
        )
    }

    private func take(_ result: OpaquePointer) {
        guard let onEvent else { return }
        let field = { (code: Unicode.Scalar) in
            PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) }
        }
        let message = field("M") ?? String(cString: PQresultErrorMessage(result))
        onEvent(.notice(severity: field("V") ?? "", message: message))
    }
}
