import Accounts
import Crypto
import Sharding
import Testing

@Suite struct `Redirect address` {
    @Test(arguments: [
        "urn:ietf:wg:oauth:2.0:oob", "https://app.example/cb", "http://localhost:8000/",
        "http://127.0.0.1/cb?x=1", "tusky://oauth", "com.example.app:/cb", "https://[::1]:9/",
    ])
    func `an address of an application is taken`(uri: String) {
        #expect(RedirectURI.isAcceptable(uri))
    }

    @Test(arguments: [
        "", "app.example/cb", "/cb", "javascript:alert(1)", "JavaScript://x/%0aalert(1)",
        "data:text/html,x",
        "https://", "https:///cb", "https://app.example/#x", "https://a b/",
        "https://a.example/\r\nX: y",
        "https://user:pass@a.example/", "http:app", "urn:other", "vbscript:x", "file:///etc/passwd",
        "ht\u{0456}ps://x", "https://\u{0430}.example/", "1a://x", "https://a.example/<b>",
        "https://a.example/\"", String(repeating: "x", count: 3_000) + ":y",
    ])
    func `one that could run, lie or split is refused`(uri: String) {
        #expect(!RedirectURI.isAcceptable(uri))
    }

    @Test func `parameters are encoded and added`() {
        #expect(
            RedirectURI.adding([("code", "a&b"), ("state", "x\r\nSet-Cookie: y")], to: "a://b?c=d")
                == "a://b?c=d&code=a%26b&state=x%0D%0ASet-Cookie%3A%20y"
        )
    }

    @Test func `a form may lead to the application's origin and no further`() {
        #expect(RedirectURI.formAction(of: "https://a.example:8/cb?x") == "https://a.example:8")
        #expect(RedirectURI.formAction(of: "tusky://oauth") == "tusky:")
        #expect(RedirectURI.formAction(of: RedirectURI.outOfBand) == nil)
        #expect(RedirectURI.formAction(of: "https://a.example;script-src */") == nil)
    }
}

@Suite struct `Proof key` {
    @Test func `the example of RFC 7636 holds`() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

        #expect(ProofKey.isChallenge(challenge))
        #expect(
            ProofKey.verify("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", against: challenge)
        )
        #expect(
            !ProofKey.verify("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX", against: challenge)
        )
    }

    @Test func `a verifier that is short or of other letters is refused`() {
        for verifier in ["", "short", String(repeating: "!", count: 43)] {
            let challenge = Base64URL.encode(Digest.sha256(verifier))

            #expect(!ProofKey.verify(verifier, against: challenge))
        }
        #expect(!ProofKey.isChallenge("plain"))
    }
}

@Suite struct `Log-in throttle` {
    private let start = Timestamp(milliseconds: 1_800_000_000_000)

    @Test func `failures use up the burst and time gives it back`() {
        let throttle = LoginThrottle(account: .init(burst: 3, recovery: .seconds(30)))

        for _ in 0..<3 {
            #expect(throttle.delay(account: "a", address: "1", at: start) == nil)
            throttle.failed(account: "a", address: "1", at: start)
        }

        #expect(throttle.delay(account: "a", address: "2", at: start) == .seconds(30))
        #expect(throttle.delay(account: "b", address: "1", at: start) == nil)
        #expect(throttle.delay(account: "a", address: "1", at: start + .seconds(30)) == nil)
    }

    @Test func `one address cannot try many accounts`() {
        let throttle = LoginThrottle(address: .init(burst: 5, recovery: .seconds(1)))

        for index in 0..<5 { throttle.failed(account: "a\(index)", address: "1", at: start) }

        #expect(throttle.delay(account: "fresh", address: "1", at: start) != nil)
        #expect(throttle.delay(account: "fresh", address: "2", at: start) == nil)
    }

    @Test func `names without end take bounded memory and keep the latest`() {
        var buckets = FailureBuckets(limits: .init(burst: 1, recovery: .seconds(60)))

        for index in 0..<100_000 { buckets.fail("n\(index)", at: start) }

        #expect(buckets.count <= 2 * FailureBuckets.generationLimit)
        #expect(buckets.delay("n99999", at: start) != nil)
    }
}

@Suite struct `HTML text` {
    @Test func `what is put in cannot leave its place`() {
        let hostile = "\"><script>alert('x')</script>&"

        let html: HTML = "<p title=\"\(hostile)\">\(["<i>" as HTML])</p>"

        #expect(
            html.description
                == "<p title=\"&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;\"><i></p>"
        )
    }
}
