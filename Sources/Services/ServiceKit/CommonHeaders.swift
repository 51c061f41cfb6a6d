import HTTP

/// Headers of every answer: cross-origin use is allowed, guessing types and framing are not.
enum CommonHeaders {
    /// Leaves alone what a handler has set itself: pages bring a policy of their own.
    static func add(to response: inout Response) {
        response.headers.add("Access-Control-Allow-Origin", "*")
        response.headers.add("Access-Control-Expose-Headers", CrossOrigin.exposed)
        response.headers.add("X-Content-Type-Options", "nosniff")
        setDefault("Cache-Control", "private, no-store", on: &response)
        setDefault(
            "Content-Security-Policy",
            "default-src 'none'; frame-ancestors 'none'",
            on: &response
        )
        setDefault("Referrer-Policy", "same-origin", on: &response)
    }

    private static func setDefault(
        _ name: String,
        _ value: String,
        on response: inout Response
    ) {
        if response.headers[name] == nil { response.headers.add(name, value) }
    }
}

/// Any web page may use the API: tokens travel in a header of their own, never in a cookie.
enum CrossOrigin {
    static let exposed =
        "Link, ETag, X-Request-Id, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, "
        + "X-RateLimit-Reset"

    /// Completes the answer to OPTIONS.
    static func allowEverything(on response: inout Response) {
        response.headers["Access-Control-Allow-Methods"] =
            response.headers["Allow"] ?? "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        response.headers["Access-Control-Allow-Headers"] =
            "Authorization, Content-Type, Idempotency-Key, If-None-Match, Range, X-Request-Id, "
            + "traceparent"
        response.headers["Access-Control-Max-Age"] = "86400"
    }
}
