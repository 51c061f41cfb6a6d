import HTTP
import JSON

/// Why a service refuses or cannot serve a request.
///
/// The message is safe for a stranger; the cause is for the log alone. ``ErrorDocument`` turns the code
/// into a status, in one place.
package struct ServiceError: Error, Sendable {
    package enum Code: String, Sendable, CaseIterable {
        case badRequest = "bad_request"
        case unauthorized
        case forbidden
        case notFound = "not_found"
        case methodNotAllowed = "method_not_allowed"
        case conflict
        case gone
        case tooLarge = "too_large"
        case unsupportedMediaType = "unsupported_media_type"
        case unprocessable
        case rateLimited = "rate_limited"
        case `internal`
        case unavailable
        /// A write may or may not have happened; the same idempotency key finds out.
        case outcomeUnknown = "outcome_unknown"
    }

    /// What is wrong with one field of the input, as Mastodon's sign-up tells it.
    package struct Detail: Sendable, Equatable {
        package var field: String
        /// Such as `ERR_TAKEN`.
        package var code: String
        package var message: String

        package init(field: String, code: String, message: String) {
            self.field = field
            self.code = code
            self.message = message
        }
    }

    package var code: Code
    package var message: String
    /// The `error` of OAuth's own error answers, such as `invalid_grant`; the message then goes beside it.
    package var oauth: String?
    package var details: [Detail]
    package var headers: Headers
    package var cause: (any Error)?

    package init(
        _ code: Code,
        _ message: String,
        oauth: String? = nil,
        details: [Detail] = [],
        headers: Headers = [:],
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.oauth = oauth
        self.details = details
        self.headers = headers
        self.cause = cause
    }

    package static let notFound = ServiceError(.notFound, "Record not found")

    package static let unauthorized = ServiceError(
        .unauthorized,
        "The access token is invalid",
        headers: ["WWW-Authenticate": "Bearer realm=\"Tessera\", error=\"invalid_token\""]
    )

    package static let outsideScopes = ServiceError(
        .forbidden,
        "This action is outside the authorized scopes",
        headers: ["WWW-Authenticate": "Bearer realm=\"Tessera\", error=\"insufficient_scope\""]
    )

    /// Input that was understood and refused; clients show the message after "Validation failed: ".
    package static func invalid(_ message: String) -> ServiceError {
        ServiceError(.unprocessable, "Validation failed: " + message)
    }

    /// Something that the answer needs is out of reach; the client is told when to come back.
    package static func unavailable(
        _ message: String = "This part of the service is unavailable for a moment.",
        retryAfter seconds: Int = 1,
        cause: (any Error)? = nil
    ) -> ServiceError {
        ServiceError(
            .unavailable,
            message,
            headers: ["Retry-After": String(seconds)],
            cause: cause
        )
    }
}

extension ServiceError.Code {
    /// The one place that turns codes into HTTP statuses.
    package var status: Status {
        switch self {
        case .badRequest: 400
        case .unauthorized: 401
        case .forbidden: 403
        case .notFound: 404
        case .methodNotAllowed: 405
        case .conflict: 409
        case .gone: 410
        case .tooLarge: 413
        case .unsupportedMediaType: 415
        case .unprocessable: 422
        case .rateLimited: 429
        case .internal: 500
        case .unavailable, .outcomeUnknown: 503
        }
    }

    init(status: Status) {
        self =
            switch status.code {
            case 401: .unauthorized
            case 403: .forbidden
            case 404: .notFound
            case 405: .methodNotAllowed
            case 409: .conflict
            case 413, 414, 431: .tooLarge
            case 415: .unsupportedMediaType
            case 422: .unprocessable
            case 429: .rateLimited
            case 503, 504: .unavailable
            case 500...: .internal
            default: .badRequest
            }
    }
}
