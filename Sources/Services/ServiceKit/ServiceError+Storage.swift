import HTTP
import Postgres

extension ServiceError {
    /// What a client is told of a failure below the services; nil for one that is our mistake.
    init?(failure: any Error) {
        guard let failure = failure as? DatabaseError else { return nil }
        switch failure {
        case .unavailable, .timeout, .fenced, .overloaded, .serialization, .cancelled:
            self = .unavailable(
                "The data that this needs is out of reach for a moment.",
                cause: failure
            )
        case .outcomeUnknown:
            self = ServiceError(
                .outcomeUnknown,
                "The connection was lost while this was written; repeat it with the same"
                    + " Idempotency-Key to learn whether it was.",
                headers: ["Retry-After": "1"],
                cause: failure
            )
        case .uniqueViolation, .checkViolation, .foreignKeyViolation, .notNullViolation, .query,
            .decoding:
            return nil
        }
    }
}
