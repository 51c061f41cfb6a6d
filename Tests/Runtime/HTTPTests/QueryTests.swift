import HTTP
import Testing

struct QueryTests {
    @Test func `pairs keep their order and repeated keys keep every value`() {
        let query = Query(parsing: "id[]=1&name=a+b%2Bc&id[]=2&empty=&flag")

        #expect(query.all("id[]") == ["1", "2"])
        #expect(query["name"] == "a b+c")
        #expect(query["empty"] == "")
        #expect(query["flag"] == "")
        #expect(query["none"] == nil)
        #expect(query.isWellFormed)
    }

    @Test(arguments: ["a=%", "a=%4", "a=%zz", "a=%ff", "a=%00", "%c3=1"])
    func `broken encodings are told`(text: String) {
        #expect(!Query(parsing: text).isWellFormed)
    }

    @Test func `more pairs than the bound are dropped and told`() {
        let query = Query(parsing: String(repeating: "a=1&", count: Query.maximumPairs + 5))

        #expect(query.pairs.count == Query.maximumPairs)
        #expect(!query.isWellFormed)
    }
}
