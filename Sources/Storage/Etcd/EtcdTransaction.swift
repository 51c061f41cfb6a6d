import Crypto
import JSON

/// Changes that happen together, at one revision, or not at all.
package struct EtcdTransaction: Sendable {
    package enum Operation: Sendable {
        case put(_ key: String, _ value: [UInt8], lease: EtcdLease? = nil)
        case delete(_ key: String)
    }

    /// etcd refuses a transaction of more operations.
    package static let operationLimit = 128

    package let expectations: [(key: String, EtcdExpectation)]
    package let operations: [Operation]

    package init(
        expecting expectations: [(key: String, EtcdExpectation)],
        _ operations: [Operation]
    ) {
        precondition(operations.count <= Self.operationLimit, "etcd takes no more operations")
        self.expectations = expectations
        self.operations = operations
    }

    func write(to json: inout JSONWriter) {
        json.key("compare")
        json.array { json in
            for (key, expectation) in expectations {
                json.object { json in Self.writeComparison(key, expectation, to: &json) }
            }
        }
        json.key("success")
        json.array { json in
            for operation in operations {
                json.object { json in Self.write(operation, to: &json) }
            }
        }
    }

    private static func write(_ operation: Operation, to json: inout JSONWriter) {
        switch operation {
        case .put(let key, let value, let lease):
            json.key("request_put")
            json.object { json in writePut(key, value, lease, to: &json) }
        case .delete(let key):
            json.key("request_delete_range")
            json.object { json in json.field("key", Base64.encode(key.utf8)) }
        }
    }

    static func writePut(
        _ key: String,
        _ value: [UInt8],
        _ lease: EtcdLease?,
        to json: inout JSONWriter
    ) {
        json.field("key", Base64.encode(key.utf8))
        json.field("value", Base64.encode(value))
        if let lease { json.field("lease", String(lease.id)) }
    }

    private static func writeComparison(
        _ key: String,
        _ expectation: EtcdExpectation,
        to json: inout JSONWriter
    ) {
        json.field("key", Base64.encode(key.utf8))
        json.field("target", "MOD")
        json.field("result", "EQUAL")
        // A key that does not exist has revision 0.
        switch expectation {
        case .absent: json.field("mod_revision", "0")
        case .revision(let revision): json.field("mod_revision", String(revision))
        }
    }
}
