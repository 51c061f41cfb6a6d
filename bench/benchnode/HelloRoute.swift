import HTTP
import ServiceKit

/// 100 bytes of JSON from memory: what the stack itself costs.
enum HelloRoute {
    private static let body = Array(
        (#"{"id":"1234567890","name":"hello","text":"a small answer of one hundred bytes, "#
            + #"no more no less"}    "#).utf8
    )

    static let endpoint = Endpoint(
        .get,
        "/hello",
        operationID: "hello",
        summary: "A small answer.",
        tag: "bench",
        access: .open,
        output: .content("application/json")
    ) { _ in
        Response(status: 200, contentType: "application/json", body)
    }
}
