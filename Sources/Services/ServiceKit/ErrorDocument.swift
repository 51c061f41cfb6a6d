import HTTP
import JSON

/// Renders errors: RFC 9457 problem documents that also carry Mastodon's `error`.
package enum ErrorDocument {
    package static func response(for error: ServiceError, traceID: String?) -> Response {
        response(
            status: error.code.status,
            code: error.code,
            error: error,
            traceID: traceID
        )
    }

    /// An error which the server itself found, such as a broken head: its status stays.
    package static func response(for error: HTTPError, traceID: String?) -> Response {
        response(
            status: error.status,
            code: ServiceError.Code(status: error.status),
            error: ServiceError(
                ServiceError.Code(status: error.status),
                error.detail,
                headers: error.headers
            ),
            traceID: traceID
        )
    }

    private static func response(
        status: Status,
        code: ServiceError.Code,
        error: ServiceError,
        traceID: String?
    ) -> Response {
        var json = JSONWriter()
        json.object { json in
            json.field("type", "about:blank")
            json.field("title", status.reason)
            json.field("status", status.code)
            json.field("detail", error.message)
            json.field("code", error.oauth ?? code.rawValue)
            json.field("error", error.oauth ?? error.message)
            if error.oauth != nil { json.field("error_description", error.message) }
            if !error.details.isEmpty { write(error.details, to: &json) }
            if let traceID { json.field("trace_id", traceID) }
        }
        var response = Response(
            status: status,
            contentType: "application/problem+json",
            json.bytes
        )
        for field in error.headers.fields { response.headers.add(field.name, field.value) }
        return response
    }

    private static func write(_ details: [ServiceError.Detail], to json: inout JSONWriter) {
        var fields: [String] = []
        for detail in details where !fields.contains(detail.field) { fields.append(detail.field) }
        json.key("details")
        json.object { json in
            for field in fields {
                json.key(field)
                json.array { json in
                    for detail in details where detail.field == field {
                        json.object { json in
                            json.field("error", detail.code)
                            json.field("description", detail.message)
                        }
                    }
                }
            }
        }
        json.key("errors")
        json.array { json in
            for detail in details {
                json.object { json in
                    json.field("pointer", "#/" + detail.field)
                    json.field("detail", detail.message)
                }
            }
        }
    }
}
