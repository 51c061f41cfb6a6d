import Memcache
import Testing

@Suite struct `Decoded values` {
    /// Two texts with one name are the same value at different times.
    private func text(_ name: Int, _ rest: String) -> [UInt8] {
        Array(
            ("{\"id\":\(name),\"padding\":\"to thirty-two bytes\",\"rest\":\"" + rest + "\"}").utf8
        )
    }

    @Test func `the same bytes are decoded once, others anew, whatever they begin with`() {
        var decoded: [String] = []
        let values = DecodedValues { bytes -> String? in
            let text = String(decoding: bytes, as: UTF8.self)
            decoded.append(text)
            return text.contains("broken") ? nil : text
        }
        let first = text(1, "a"), changed = text(1, "b"), broken = text(2, "broken")

        let found = [first, first, changed, changed, first, broken, broken, [1], [1]].map {
            values.value(of: $0)
        }

        let texts = [first, changed, first, broken, broken, [1], [1]].map {
            String(decoding: $0, as: UTF8.self)
        }
        #expect(decoded == texts)
        #expect(found[1] == found[0] && found[3] == found[2] && found[4] == found[0])
        #expect(found[5] == nil && found[6] == nil)
        #expect(values.hits == 2)
    }

    @Test func `what comes often outlives what came once, and their number is bounded`() {
        let values = DecodedValues { $0.count }
        let often = text(0, "often")
        let most = DecodedValues<Int>.generationLimit
        _ = values.value(of: often)

        for number in 1...4 * most {
            _ = values.value(of: text(number, "once"))
            if number % (most / 2) == 0 { _ = values.value(of: often) }
        }
        let hits = values.hits
        _ = values.value(of: text(1, "once"))

        #expect(hits == 8)
        #expect(values.hits == hits, "the first was forgotten")
    }
}
