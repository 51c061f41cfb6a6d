import JSON
import Testing

@Suite struct `JSON reader` {
    @Test func `values are found by name and by position`() throws {
        let value = try JSONReader.parse(
            #" {"id":"7","n":[1,-2,3.5,true,false,null,{"deep":["x"]}],"id2":{}} "#
        )

        #expect(value["id"]?.string == "7")
        #expect(value["n"]?[0]?.int64 == 1)
        #expect(value["n"]?[1]?.int == -2)
        #expect(value["n"]?[2]?.double == 3.5)
        #expect(value["n"]?[2]?.int64 == nil)
        #expect(value["n"]?[3]?.bool == true)
        #expect(value["n"]?[4]?.bool == false)
        #expect(value["n"]?[5]?.isNull == true)
        #expect(value["n"]?[6]?["deep"]?[0]?.string == "x")
        #expect(value["n"]?[7] == nil)
        #expect(value["missing"] == nil)
        #expect(value["id"]?["x"] == nil)
        #expect(value.object?.map(\.key) == ["id", "n", "id2"])
    }

    @Test func `of a repeated name the last counts`() throws {
        let object = try JSONReader.parse(#"{"a":1,"b":{"a":3},"a":2,"":4}"#)
        let members = try #require(JSONMembers(object))
        let list = try JSONReader.parse("[1]")

        #expect(object["a"]?.int == 2 && members["a"]?.int == 2)
        #expect(members["b"]?["a"]?.int == 3 && members[""]?.int == 4)
        #expect(members["c"]?.isNull == nil && JSONMembers(list) == nil)
    }

    @Test func `integers keep all their bits`() throws {
        let value = try JSONReader.parse(
            "[9223372036854775807,-9223372036854775808,18446744073709551615,2.0]"
        )

        #expect(value[0]?.int64 == .max)
        #expect(value[1]?.int64 == .min)
        #expect(value[2]?.int64 == nil)
        #expect(value[2]?.uint64 == .max)
        #expect(value[3]?.int64 == 2)
    }

    @Test(arguments: ["18446744073709551616", "-9223372036854775809", "1e999", "-", "01", "1."])
    func `a number that does not fit is refused`(text: String) {
        #expect(throws: JSONError.self) { try JSONReader.parse("[\(text)]") }
    }

    @Test func `escapes and surrogate pairs are decoded`() throws {
        #expect(
            try JSONReader.parse(#""\"\\\/\b\f\n\r\t\u0041\ud83d\ude00""#).string
                == "\"\\/\u{8}\u{c}\n\r\tA😀"
        )
    }

    @Test(arguments: [#""\ud800""#, #""\udc00""#, #""\ud800\u0041""#, #""\ud83dx""#])
    func `half a surrogate pair never becomes invalid text`(text: String) {
        guard let value = try? JSONReader.parse(text).string else { return }

        #expect(value.unicodeScalars.contains("\u{FFFD}"))
    }

    @Test(arguments: [
        [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0x80], [0xE2, 0x82],
    ])
    func `invalid UTF-8 is refused`(bytes: [UInt8]) {
        let text: [UInt8] = [0x22] + bytes + [0x22]

        #expect(throws: JSONError.invalidUTF8) { try JSONReader.parse(text) }
    }

    @Test func `containers nest to the limit and not beyond`() throws {
        let limit = JSONReader.depthLimit
        // The parser counts the document itself as one level.
        func nested(_ count: Int) -> String {
            String(repeating: "[", count: count) + String(repeating: "]", count: count)
        }

        _ = try JSONReader.parse(nested(limit - 1))

        for count in [limit + 1, 100_000] {
            #expect(throws: JSONError.tooDeep) { try JSONReader.parse(nested(count)) }
        }
    }

    @Test(arguments: ["", "   ", "\n"])
    func `nothing is no document`(text: String) {
        #expect(throws: JSONError.empty) { try JSONReader.parse(text) }
    }

    @Test(arguments: [
        "{", "}", "[1,]", "{\"a\":}", "{a:1}", "[1 2]", "tru", "'a'", "[1]]", "\"\u{1}\"", "\"",
        "{} {}",
        "\u{FEFF}{}", "nul", "{\"a\" 1}", "[,1]",
    ])
    func `what is not JSON is refused`(text: String) {
        #expect(throws: JSONError.self) { try JSONReader.parse(text) }
    }

    @Test func `a text above the limit is not read`() {
        #expect(throws: JSONError.tooLarge(limit: 10)) {
            try JSONReader.parse("[1,2,3,4,5,6]", limit: 10)
        }
    }

    @Test func `a document of several sizes is parsed and written back`() throws {
        for count in [0, 1, 10, 1_000, 60_000] {
            let text =
                "[" + (0..<count).map { #"{"k\#($0)":"v","n":\#($0)}"# }.joined(separator: ",")
                + "]"

            let value = try JSONReader.parse(text, limit: 8 << 20)

            #expect(String(decoding: value.jsonBytes, as: UTF8.self) == text)
        }
    }
}
