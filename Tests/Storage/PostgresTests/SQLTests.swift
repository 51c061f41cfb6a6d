import Sharding
import Testing

@testable import Postgres

private struct ProbeID: RoutedID {
    let rawValue: Int64

}

struct SQLText {
    @Test func `an interpolated value becomes a placeholder and a binding`() {
        let name = "x'; DROP TABLE post; --"

        let sql: SQL = "SELECT \(1 as Int16), \(name) WHERE id = \(ProbeID(rawValue: 7))"

        #expect(sql.text == "SELECT $1, $2 WHERE id = $3")
        #expect(sql.bindings.specs.map(\.type) == [.int2, .text, .int8])
        #expect(sql.bindings.specs.map(\.length) == [2, 23, 8])
    }

    @Test func `a fragment is renumbered, also past nine placeholders`() {
        let fragment: SQL = "a = \(1) AND b = \(2)"
        var sql: SQL = "SELECT \(0)"

        for _ in 0..<5 { sql += " OR \(fragment: fragment)" }

        #expect(sql.text.hasSuffix(" OR a = $10 AND b = $11"))
        #expect((("x \(fragment: sql)" as SQL) + " y").text == "x " + sql.text + " y")
        #expect(sql.bindings.count == 11)
    }

    @Test func `dollar signs in pasted text stay as they are`() {
        let fragment: SQL = "SELECT '$1', \(5), $tag$ $9 $tag$"

        let sql: SQL = "\(1) \(fragment: fragment)"

        #expect(sql.text == "$1 SELECT '$1', $2, $tag$ $9 $tag$")
    }

    @Test func `nil binds NULL with its type`() {
        let sql: SQL = "\(nil as Int64?) \(nil as ProbeID?) \([ProbeID(rawValue: 1), nil])"

        #expect(sql.bindings.specs.map(\.type) == [.int8, .int8, .int8Array])
        #expect(sql.bindings.specs.map(\.length).prefix(2) == [-1, -1])
    }
}
