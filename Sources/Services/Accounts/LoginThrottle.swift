package import Sharding
internal import Synchronization

/// How many log-ins may fail, for each account and from each address; in the memory of one process.
///
/// It needs no other process, so that an outage neither opens nor locks any door. What all nodes allow together is
/// ``SharedThrottle``.
package final class LoginThrottle: Sendable {
    package struct Limits: Sendable {
        /// Failures at once.
        package var burst: Double
        /// How long until one more may fail.
        package var recovery: Duration

        package init(burst: Double, recovery: Duration) {
            self.burst = burst
            self.recovery = recovery
        }

        package static let account = Limits(burst: 10, recovery: .seconds(30))
        package static let address = Limits(burst: 50, recovery: .seconds(5))
    }

    /// What the nodes allow together, too.
    let accountLimits: Limits
    let addressLimits: Limits

    private let accounts: Mutex<FailureBuckets>
    private let addresses: Mutex<FailureBuckets>

    package init(account: Limits = .account, address: Limits = .address) {
        accountLimits = account
        addressLimits = address
        accounts = Mutex(FailureBuckets(limits: account))
        addresses = Mutex(FailureBuckets(limits: address))
    }

    /// How long to wait before a log-in may be tried; nil when it may be now.
    package func delay(account: String, address: String, at now: Timestamp) -> Duration? {
        let waits = [
            accounts.withLock { $0.delay(account, at: now) },
            addresses.withLock { $0.delay(address, at: now) },
        ]
        return waits.compactMap { $0 }.max()
    }

    package func failed(account: String, address: String, at now: Timestamp) {
        accounts.withLock { $0.fail(account, at: now) }
        addresses.withLock { $0.fail(address, at: now) }
    }
}

/// Token buckets by name, of which the longest unused are forgotten.
package struct FailureBuckets: Sendable {
    /// How many names each of two generations holds.
    package static let generationLimit = 20_000

    private struct Bucket: Sendable {
        var spent: Double
        var at: Timestamp
    }

    private let limits: LoginThrottle.Limits
    private var young: [String: Bucket] = [:]
    private var old: [String: Bucket] = [:]

    package init(limits: LoginThrottle.Limits) {
        self.limits = limits
    }

    package var count: Int { young.count + old.count }

    package func delay(_ name: String, at now: Timestamp) -> Duration? {
        let excess = spent(name, at: now) + 1 - limits.burst
        return excess > 0 ? limits.recovery * excess : nil
    }

    package mutating func fail(_ name: String, at now: Timestamp) {
        let spent = min(spent(name, at: now) + 1, limits.burst)
        if young.count >= Self.generationLimit, young[name] == nil {
            old = young
            young = [:]
        }
        young[name] = Bucket(spent: spent, at: now)
    }

    private func spent(_ name: String, at now: Timestamp) -> Double {
        guard let bucket = young[name] ?? old[name] else { return 0 }
        let recovered = (now - bucket.at) / limits.recovery
        return max(0, bucket.spent - max(0, recovered))
    }
}
