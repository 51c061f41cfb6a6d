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

    @Test func `each number of digits is written`() {
        var value: UInt64 = 0
        for digits in 1...20 {
            value = digits == 20 ? .max : value * 10 + UInt64(digits % 10)
            for number in [value, value + (digits == 20 ? 0 : 1), value - 1] {
                #expect(text { $0.int(number) } == "\(number)")
            }
        }
        #expect(
            text { json in
                json.array { json in
                    json.string(decimal: .min)
                    json.string(decimal: 0)
                    json.string(decimal: 100_000_000)
                }
            } == #"["-9223372036854775808","0","100000000"]"#
        )
    }

    @Test(arguments: [
        "", "a", "sieben7", "achtacht", "neun neun", "with \" in it", "grüße 👩‍👩‍👧, all of them",
    ])
    func `bytes of a text are written as the text`(value: String) {
        let written = text { json in
            Array(value.utf8).withUnsafeBufferPointer { json.string(utf8: $0) }
        }

        #expect(written == text { $0.string(value) })
    }

    @Test(arguments: [
        [0xFF], [0x61, 0xC3, 0x22], Array(repeating: 0x61, count: 20) + [0xE2, 0x82],
    ])
    func `bytes that are no text are replaced`(bytes: [UInt8]) {
        let written = text { json in
            json.object { json in
                json.field("first", true)
                json.key("second")
                bytes.withUnsafeBufferPointer { json.string(utf8: $0) }
                json.field("third", 3)
            }
        }

        let expected = text { json in
            json.object { json in
                json.field("first", true)
                json.field("second", String(decoding: bytes, as: UTF8.self))
                json.field("third", 3)
            }
        }
        #expect(written == expected)
    }

    @Test func `a key known at run time is escaped and followed by its value`() {
        let name = "a\"b"
        let written = text { json in
            json.object { json in
                json.key(name)
                json.int(1)
                json.key(name)
                json.int(2)
            }
        }

        #expect(written == #"{"a\"b":1,"a\"b":2}"#)
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
