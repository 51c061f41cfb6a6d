import Contracts
import Testing

@Suite struct `Scopes of a token` {
    @Test(arguments: [
        ("read", "read:accounts", true), ("read", "write:accounts", false),
        ("write:media", "write:media", true), ("write:media", "write", false),
        ("follow", "write:follows", true), ("follow", "read:mutes", true),
        ("follow", "write:statuses", false), ("read write", "write:statuses", true),
        ("", "read", false),
    ])
    func `cover what they name and its parts`(scopes: String, wanted: String, covers: Bool) {
        #expect(Scopes(parsing: scopes)?.covers(wanted) == covers)
    }

    @Test(arguments: ["everything", "read:nothing", "read:", ":read", "admin", "read:accounts:x"])
    func `unknown ones are refused`(text: String) {
        #expect(Scopes(parsing: text) == nil)
    }
}
