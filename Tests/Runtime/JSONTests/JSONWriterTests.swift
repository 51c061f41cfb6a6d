import JSON
import Testing

@Suite struct `JSON writer` {
    @Test(arguments: [
        ("", #""""#),
        ("plain", #""plain""#),
        ("a\"b\\c", #""a\"b\\c""#),
        ("\u{8}\t\n\u{c}\r", #""\b\t\n\f\r""#),
        ("\0\u{1f}", #""\u0000\u001f""#),
        ("12345678\"", #""12345678\"""#),
        ("1234567\n9", #""1234567\n9""#),
        ("grüße 👩‍👩‍👧 \u{2028}", "\"grüße 👩‍👩‍👧 \u{2028}\""),
        ("</script>", #""</script>""#),
    ])
    func `a string is escaped where it must be and nowhere else`(value: String, expected: String) {
        #expect(text { $0.string(value) } == expected)
    }

    @Test func `commas stand between members and elements only`() {
        let result = text { json in
            json.object { json in
                json.field("a", 1)
                json.field("empty", [Int]())
                json.key("b")
                json.array { json in
                    json.null()
                    json.object { _ in }
                    json.bool(false)
                }
                json.field("c", String?.none)
            }
        }

        #expect(result == #"{"a":1,"empty":[],"b":[null,{},false],"c":null}"#)
    }

    @Test func `numbers are written exactly`() {
        let result = text { json in
            json.array { json in
                json.int(Int64.min)
                json.int(UInt64.max)
                json.int(Int8.min)
                json.int(0)
                json.double(0.1)
                json.double(1e300)
                json.double(.infinity)
                json.double(.nan)
            }
        }

        #expect(
            result
                == "[-9223372036854775808,18446744073709551615,-128,0,0.1,1e+300,null,null]"
        )
    }

    @Test func `whatever is written is read back`() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            let length = Int.random(in: 0...40, using: &random)
            let value = String(
                String.UnicodeScalarView(
                    (0..<length).map { _ in
                        Unicode.Scalar(UInt32.random(in: 0...0x10FFFF, using: &random)) ?? "\""
                    }
                )
            )

            let read = try JSONReader.parse(text { $0.string(value) })

            #expect(read.string.map { Array($0.utf8) } == Array(value.utf8))
        }
    }

    private func text(_ body: (inout JSONWriter) -> Void) -> String {
        var json = JSONWriter()
        body(&json)
        return String(decoding: json.bytes, as: UTF8.self)
    }
}
