import HTTP

/// Headers of every answer: cross-origin use is allowed, guessing types and framing are not.
enum CommonHeaders {
    private static let defaults = HeaderDefaults([
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": CrossOrigin.exposed,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "same-origin",
    ])

    /// Leaves alone what a handler has set itself: pages bring a policy of their own.
    static func add(to response: inout Response) {
        response.defaults = defaults
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
