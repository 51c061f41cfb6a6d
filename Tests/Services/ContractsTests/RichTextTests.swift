import Contracts
import Testing

@Suite struct `Typed text` {
    private func html(_ text: String) -> String {
        RichText(text).html(
            mentions: ["bob": .init(username: "bob", url: "https://t.example/@bob")],
            tagURL: { "https://t.example/tags/" + $0 }
        )
    }

    @Test(arguments: [
        ("", ""),
        ("plain", "<p>plain</p>"),
        ("a\nb\n\n\nc", "<p>a<br />b</p><p>c</p>"),
        ("a\r\nb\rc", "<p>a<br />b<br />c</p>"),
        ("  around \n", "<p>around</p>"),
        ("1 < 2 & \"3\" '4'", "<p>1 &lt; 2 &amp; &quot;3&quot; &#39;4&#39;</p>"),
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
        ("bell\u{07}\u{1B}[0m", "<p>bell[0m</p>"),
        ("@nobody here", "<p>@nobody here</p>"),
        ("mail@bob.example", "<p>mail@bob.example</p>"),
        ("@bob@elsewhere", "<p>@bob@elsewhere</p>"),
        ("#1 is no tag", "<p>#1 is no tag</p>"),
        ("http:// alone", "<p>http:// alone</p>"),
        ("javascript:alert(1)", "<p>javascript:alert(1)</p>"),
    ])
    func `becomes HTML in which nothing typed is markup`(text: String, expected: String) {
        #expect(html(text) == expected)
    }

    @Test func `mentions, hashtags and links become links`() {
        #expect(
            html("@Bob!")
                == "<p><span class=\"h-card\" translate=\"no\"><a href=\"https://t.example/@bob\""
                + " class=\"u-url mention\">@<span>bob</span></a></span>!</p>"
        )
        #expect(
            html("#Frühling.")
                == "<p><a href=\"https://t.example/tags/frühling\" class=\"mention hashtag\""
                + " rel=\"tag\">#<span>Frühling</span></a>.</p>"
        )
        #expect(html("see https://a.example/x_(y)).").contains("href=\"https://a.example/x_(y)\""))
    }

    @Test func `a link cannot leave its attribute`() {
        let text = html("https://a.example/\"onmouseover=alert(1)<b>")

        #expect(text.contains("href=\"https://a.example/\""))
        #expect(!text.contains("\"onmouseover"))
        #expect(!text.contains("<b>"))
    }

    @Test func `names are gathered once, in order and bounded`() {
        let many = (0..<80).map { "@user\($0) #tag\($0)" }.joined(separator: " ")
        let text = RichText("@b @A @b #X #y #x")

        #expect(text.mentions == ["b", "a"])
        #expect(text.hashtags == ["x", "y"])
        #expect(RichText(many).mentions.count == RichText.mentionLimit)
        #expect(RichText(many).hashtags.count == RichText.hashtagLimit)
    }

    @Test func `links count as their reserved length, letters as people see them`() {
        #expect(RichText("👩‍👩‍👧 é").length(charactersPerURL: 23) == 3)
        #expect(
            RichText("a https://a.example/" + String(repeating: "x", count: 300))
                .length(charactersPerURL: 23) == 25
        )
    }

    @Test func `random bytes never yield markup of their own`() {
        var generator = SeededGenerator(seed: 20_261_121)
        let alphabet = Array("<>&\"'@#:/.ahtps \n\u{0}\u{202E}é()[]{}")
        for _ in 0..<3_000 {
            let text = String((0..<40).map { _ in alphabet.randomElement(using: &generator)! })

            let result = html(text)

            // Whatever stands between two of our tags holds no bracket of its own.
            var depth = 0
            for character in result {
                if character == "<" { depth += 1 }
                if character == ">" { depth -= 1 }
                #expect(depth == 0 || depth == 1, "seed 20261121: \(text.debugDescription)")
            }
            #expect(!result.contains("<script") && depth == 0)
        }
    }
}

/// A small generator whose numbers repeat with its seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
