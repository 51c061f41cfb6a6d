import Crypto
import Testing

@Suite struct `Digests` {
    @Test func `SHA-256 and HMAC give the published values`() {
        #expect(
            hex(Digest.sha256("abc"))
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        #expect(
            hex(Digest.sha256(""))
                == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )
        // RFC 4231, test case 2.
        #expect(
            hex(Digest.hmac("what do ya want for nothing?".utf8, key: Array("Jefe".utf8)))
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        )
    }

    @Test func `comparison tells equal from different`() {
        #expect(Digest.equal([1, 2, 3], [1, 2, 3]))
        #expect(Digest.equal([], []))
        #expect(!Digest.equal([1, 2, 3], [1, 2, 4]))
        #expect(!Digest.equal([1, 2, 3], [1, 2]))
    }

    private func hex(_ bytes: [UInt8]) -> String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}

@Suite struct `Base64url` {
    @Test func `bytes of every length come back`() {
        for count in 0..<70 {
            let bytes = SecureRandom.bytes(count)

            #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes)
        }
        #expect(Base64URL.encode([0xFB, 0xFF]) == "-_8")
    }

    @Test(arguments: ["A", "AB", "-_9", "AA=", "A A", "AA+A", "AA/A", "ÄA", "AAAAA"])
    func `what no encoder writes is refused`(text: String) {
        #expect(Base64URL.decode(text) == nil)
    }
}

@Suite struct `Key ring` {
    @Test func `the first key signs and all verify`() throws {
        let new = Base64URL.encode(SecureRandom.bytes(32))
        let old = String(repeating: "0f", count: 32)

        let ring = try KeyRing(parsing: "# tokens\nk2 \(new)\n\nk1\t\(old)\r\n")

        #expect(ring.signing.id == "k2")
        #expect(ring["k1"]?.secret == [UInt8](repeating: 0x0F, count: 32))
        #expect(ring["k3"] == nil)
        #expect(ring.derived(for: "a").signing.secret != ring.derived(for: "b").signing.secret)
    }

    @Test(arguments: [
        "", "# only a comment", "k1", "k1 short", "k 1 2",
        "k.1 \(String(repeating: "A", count: 43))",
    ])
    func `a broken file is refused`(text: String) {
        #expect(throws: KeyRing.ParseError.self) { try KeyRing(parsing: text) }
    }

    @Test func `an id is given once`() {
        let secret = String(repeating: "A", count: 43)

        #expect(throws: KeyRing.ParseError.repeated(id: "a")) {
            try KeyRing(parsing: "a \(secret)\na \(secret)")
        }
    }
}

@Suite struct `Password hash` {
    @Test func `a password is verified by its hash and no other`() throws {
        let hashes = PasswordHash(cost: .least)

        let hash = try hashes.hash("correct horse")

        #expect(hash.hasPrefix("$argon2id$v=19$"))
        #expect(hashes.verify("correct horse", against: hash))
        #expect(!hashes.verify("correct horsf", against: hash))
        #expect(!hashes.verify("", against: hash))
        #expect(!hashes.verify("correct horse", against: "not a hash"))
        #expect(try hashes.hash("correct horse") != hash)
    }

    @Test func `a dearer cost makes a hash outdated`() throws {
        let hash = try PasswordHash(cost: .least).hash("x")

        #expect(!PasswordHash(cost: .least).isOutdated(hash))
        #expect(PasswordHash(cost: .standard).isOutdated(hash))
    }
}
