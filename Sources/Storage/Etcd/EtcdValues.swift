package import Settings

/// How etcd is reached.
package struct EtcdSettings: Sendable {
    /// Such as `http://127.0.0.1:15079`; tried in turn when one does not answer.
    package var endpoints: [String]
    package var user: String?
    package var password: String?

    /// How long one attempt at one endpoint may take.
    package var timeout = Duration.seconds(3)

    /// A watch that hears nothing for so long is opened anew, in case its connection is half dead.
    package var watchSilence = Duration.seconds(30)

    /// Bytes of one answer or one watch message.
    package var answerLimit = 4 << 20

    package init(endpoints: [String], user: String? = nil, password: String? = nil) {
        precondition(!endpoints.isEmpty, "etcd has at least one endpoint")
        self.endpoints = endpoints
        self.user = user
        self.password = password
    }

    /// What the settings `etcd.endpoints`, `etcd.user` and `etcd.password_file` say.
    package init(_ values: SettingValues) throws(SettingsError) {
        let endpoints = values.list("etcd.endpoints")
        guard !endpoints.isEmpty else { throw SettingsError("etcd.endpoints is empty") }
        let user = values.text("etcd.user")
        self.init(
            endpoints: endpoints,
            user: user.isEmpty ? nil : user,
            password: try SecretFile.password(values.text("etcd.password_file"))
        )
    }
}

/// A key with its value.
package struct EtcdEntry: Sendable, Equatable {
    package let key: String
    package let value: [UInt8]

    /// The revision of etcd at which the key was last written: what a compare-and-set compares.
    package let revision: Int64

    package init(key: String, value: [UInt8], revision: Int64) {
        self.key = key
        self.value = value
        self.revision = revision
    }

    package var text: String? { String(validating: value, as: UTF8.self) }
}

/// What a range found, and the revision of etcd that it shows: a watch goes on from the next one.
package struct EtcdSnapshot: Sendable {
    package let entries: [EtcdEntry]
    package let revision: Int64
}

/// What a watch tells of one key.
package enum EtcdChange: Sendable, Equatable {
    case put(EtcdEntry)
    case deleted(key: String, revision: Int64)
}

/// What a compare-and-set expects of its key.
package enum EtcdExpectation: Sendable, Equatable {
    case absent
    case revision(Int64)
}

/// A lease that ends unless it is kept alive; keys put under it end with it.
package struct EtcdLease: Sendable, Equatable {
    package let id: Int64

    package init(id: Int64) { self.id = id }
}

package enum EtcdError: Error, Sendable, Equatable, CustomStringConvertible {
    /// No endpoint answered.
    case unavailable(String)
    /// Wrong user or password, or no right to the key.
    case denied(String)
    /// The connection was lost after a write had been sent: it may have been carried out.
    case outcomeUnknown
    /// The watched revision is gone; read again and watch from there.
    case compacted(revision: Int64)
    /// etcd refused the request.
    case refused(code: Int, message: String)
    /// The answer is not what etcd would say.
    case malformed(String)
    case cancelled

    package var description: String {
        switch self {
        case .unavailable(let reason): "etcd does not answer: \(reason)"
        case .denied(let reason): "etcd denies access: \(reason)"
        case .outcomeUnknown: "the connection to etcd was lost during a write"
        case .compacted(let revision): "etcd has forgotten what was before revision \(revision)"
        case .refused(_, let message): "etcd refused: \(message)"
        case .malformed(let what): "etcd's answer cannot be read: \(what)"
        case .cancelled: "cancelled"
        }
    }
}

/// The end of the range of keys that begin with `prefix`, as etcd counts it.
func rangeEnd(ofPrefix prefix: String) -> [UInt8] {
    var bytes = Array(prefix.utf8)
    while let last = bytes.last {
        if last < 0xff {
            bytes[bytes.count - 1] = last + 1
            return bytes
        }
        bytes.removeLast()
    }
    return [0]
}
