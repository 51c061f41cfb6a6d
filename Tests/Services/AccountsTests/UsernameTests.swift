import Accounts
import Testing

@Suite struct Usernames {
    @Test(arguments: [
        ("alice", "alice", "alice"), ("Alice_01", "Alice_01", "alice_01"), ("a.b", "a.b", "a.b"),
        ("ＡＬＩＣＥ", "ALICE", "alice"), ("\u{212A}evin", "Kevin", "kevin"), ("ﬁona", "fiona", "fiona"),
        ("al\u{200D}ice", "alice", "alice"),
    ])
    func `a name is shown as written and compared folded`(
        input: String,
        text: String,
        folded: String
    ) throws {
        let name = try Username(claiming: input)

        #expect(name.text == text)
        #expect(name.folded == folded)
    }

    @Test(arguments: [
        "", "a b", "a-b", ".a", "a.", "a..b", "a/b", "a@b", "\u{0430}lice", "名前", "a\n", "a\0b",
        "<b>",
        "\u{202E}abc\u{2066}é", "a%00", "a'--",
    ])
    func `a name of anything but letters, digits, underscores and dots is refused`(input: String) {
        #expect(throws: Username.Refusal.self) { try Username(claiming: input) }
    }

    @Test(arguments: [
        "admin", "Admin", "ad.min", "_admin_", "ＡＤＭＩＮ", "ad\u{200B}min", "𝓪𝓭𝓶𝓲𝓷", "___", "root",
    ])
    func `what looks like a reserved name is reserved`(input: String) {
        #expect(throws: Username.Refusal.reserved) { try Username(claiming: input) }
    }

    @Test func `a name has at most thirty letters`() throws {
        _ = try Username(claiming: String(repeating: "a", count: 30))

        #expect(throws: Username.Refusal.tooLong) {
            try Username(claiming: String(repeating: "a", count: 31))
        }
    }

    @Test(arguments: ["a@b.example", "A.B+c@Ex-ample.org", "ä@bücher.example", "x@localhost"])
    func `an address that mail could reach is taken`(input: String) {
        #expect(EmailAddress(input) != nil)
    }

    @Test(arguments: [
        "", "a", "@b.c", "a@", "a@b@c", "a b@c.d", "a@b..c", "a@-b.c", "a@b.c\r\nBcc: x@y", "a@b_c",
        "\"a\"@b.c", "a@b.c,d@e.f",
    ])
    func `an address that none could reach is refused`(input: String) {
        #expect(EmailAddress(input) == nil)
    }

    @Test func `addresses are compared without case and form`() {
        #expect(EmailAddress("Ａnn@Example.ORG")?.folded == "ann@example.org")
    }
}
