internal import CLibpq

/// The arrays that libpq wants for each send, made once for a connection.
final class ParameterBuffers {
    private var capacity = 0
    private var values = UnsafeMutablePointer<UnsafePointer<CChar>?>.allocate(capacity: 0)
    private var lengths = UnsafeMutablePointer<Int32>.allocate(capacity: 0)
    private var formats = UnsafeMutablePointer<Int32>.allocate(capacity: 0)
    /// What an empty value points to: libpq takes a null pointer for NULL.
    private let nothing = UnsafeMutablePointer<CChar>.allocate(capacity: 1)

    init() {
        nothing.initialize(to: 0)
    }

    deinit {
        values.deallocate()
        lengths.deallocate()
        formats.deallocate()
        nothing.deallocate()
    }

    /// Queues one execution, binary both ways; libpq copies the values before it returns.
    func sendQuery(
        _ sql: SQL,
        as statement: PreparedStatement,
        on connection: OpaquePointer
    ) -> Bool {
        let count = sql.bindings.count
        if count > capacity { grow(to: count) }
        return sql.bindings.bytes.withUnsafeBytes { bytes in
            let base = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            for index in 0..<count {
                let spec = sql.bindings.specs[index]
                lengths[index] = spec.length
                if spec.length > 0 {
                    values[index] = base.map { UnsafePointer($0 + Int(spec.start)) }
                } else {
                    values[index] = spec.length < 0 ? nil : UnsafePointer(nothing)
                }
            }
            return PQsendQueryPrepared(
                connection,
                statement.cName,
                Int32(count),
                values,
                lengths,
                formats,
                1
            ) == 1
        }
    }

    /// Queues one preparation.
    func sendPreparation(
        of sql: SQL,
        as statement: PreparedStatement,
        on connection: OpaquePointer
    ) -> Bool {
        statement.types.map(\.oid).withUnsafeBufferPointer {
            PQsendPrepare(connection, statement.cName, sql.text, Int32($0.count), $0.baseAddress)
        } == 1
    }

    private func grow(to count: Int) {
        capacity = max(16, count.nextPowerOfTwo)
        values.deallocate()
        lengths.deallocate()
        formats.deallocate()
        values = .allocate(capacity: capacity)
        lengths = .allocate(capacity: capacity)
        formats = .allocate(capacity: capacity)
        values.initialize(repeating: nil, count: capacity)
        lengths.initialize(repeating: 0, count: capacity)
        formats.initialize(repeating: 1, count: capacity)
    }
}

extension Int {
    fileprivate var nextPowerOfTwo: Int {
        self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount)
    }
}
