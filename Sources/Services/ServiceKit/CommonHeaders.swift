import HTTP

/// Headers of every answer: cross-origin use is allowed, guessing types and framing are not.
enum CommonHeaders {
    private static let common: Headers = [
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": CrossOrigin.exposed,
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "same-origin",
    ]

    private static let defaults = with(["Cache-Control": "private, no-store"])

    /// Of a page whose tag says whether it has changed, in JSON.
    static let page = with([
        "Content-Type": "application/json; charset=utf-8",
        "Cache-Control": EntityTag.caching,
    ])

    /// Of the answer that it has not.
    static let unchanged = with(["Cache-Control": EntityTag.caching])

    private static func with(_ more: Headers) -> HeaderDefaults {
        var headers = common
        for field in more.fields { headers.add(field.name, field.value) }
        return HeaderDefaults(headers)
    }

    /// Leaves alone what a handler has set itself: pages bring a policy of their own.
    static func add(to response: inout Response) {
        if response.defaults == nil { response.defaults = defaults }
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
