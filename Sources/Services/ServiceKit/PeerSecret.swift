import Crypto

/// How the nodes of one installation know each other: a secret that is derived from the keys they all have.
package struct PeerSecret: Sendable {
    static let header = "X-Tessera-Peer"

    private let keys: KeyRing

    package init(keys: KeyRing) {
        self.keys = keys.derived(for: "calls between nodes")
    }

    /// What a caller sends; the balancer takes it out of whatever comes from outside.
    var text: String { "\(keys.signing.id).\(Base64URL.encode(keys.signing.secret))" }

    /// Any key of the ring will do, so that keys can be exchanged node by node.
    func isKnown(_ text: String?) -> Bool {
        guard let parts = text?.split(separator: ".", maxSplits: 1), parts.count == 2,
            let key = keys[parts[0]], let secret = Base64URL.decode(parts[1])
        else { return false }
        return Digest.equal(secret, key.secret)
    }
}
