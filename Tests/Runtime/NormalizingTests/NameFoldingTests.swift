import Normalizing
import Testing

@Suite struct `Name folding` {
    @Test(arguments: [
        ("Alice", "alice"),
        ("ＡＬＩＣＥ", "alice"),
        ("ﬁne", "fine"),
        ("\u{212A}elvin", "kelvin"),
        ("ad\u{200B}min", "admin"),
        ("straße", "strasse"),
        ("e\u{301}", "é"),
        ("Ⅷ", "viii"),
        ("𝒶𝓭𝖒ｉ𝚗", "admin"),
        ("", ""),
    ])
    func `what looks the same in NFKC is the same name`(text: String, folded: String) {
        #expect(NameFolding.folded(text) == folded)
    }

    @Test func `case is kept where it is shown`() {
        #expect(NameFolding.compatible("Ａlice") == "Alice")
    }

    @Test func `letters of another script stay what they are`() {
        #expect(NameFolding.folded("\u{0430}dmin") == "\u{0430}dmin")
    }

    @Test func `unassigned and endless texts are refused`() {
        #expect(NameFolding.folded("\u{0378}") == nil)
        #expect(NameFolding.folded(String(repeating: "a", count: 1_025)) == nil)
    }
}
