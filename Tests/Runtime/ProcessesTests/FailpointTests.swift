import Glibc
import Testing

@testable import Processes

@Suite struct `Failpoints` {
    @Test(arguments: [
        ("copying.after", "copying.after:kill"),
        ("copying.before:pause", "copying.before:pause"),
        ("move.fenced.after:kill", "move.fenced.after:kill"),
    ])
    func `a place is named by step and side`(text: String, meaning: String) {
        #expect(Failpoint(text)?.description == meaning)
    }

    @Test(arguments: [
        "", "copying", ".after", "copying.", "copying.during", "copying.after:",
        "copying.after:hang", "copying.after:kill:pause",
    ])
    func `anything else is no failpoint`(text: String) {
        #expect(Failpoint(text) == nil)
    }

    @Test func `a place's file is taken once, by one`() throws {
        let folder = try emptyFolder()
        defer { rmdir(folder) }
        try put("pause\n", at: "\(folder)/copying.after")

        let other = Failpoint.taken("copying", .before, from: folder)
        let first = Failpoint.taken("copying", .after, from: folder)
        let second = Failpoint.taken("copying", .after, from: folder)

        #expect(other == nil)
        #expect(first?.action == .pause)
        #expect(second == nil)
    }

    @Test func `an empty file kills`() throws {
        let folder = try emptyFolder()
        defer { rmdir(folder) }
        try put("", at: "\(folder)/fenced.before")

        #expect(Failpoint.taken("fenced", .before, from: folder)?.action == .kill)
    }

    @Test func `without the switch nothing is armed`() {
        #expect(!Failpoint.isAllowed)
        #expect(Failpoint.armed == nil)
        Failpoint.reach("copying", .after)
    }

    private func emptyFolder() throws -> String {
        var path = Array("/tmp/failpoints-XXXXXX".utf8CString)
        try #require(mkdtemp(&path) != nil)
        return String(decoding: path.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private func put(_ text: String, at path: String) throws {
        let file = try #require(fopen(path, "we"))
        fputs(text, file)
        fclose(file)
    }
}
