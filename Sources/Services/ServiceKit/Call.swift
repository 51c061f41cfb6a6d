import Contracts
import EventLoops
import HTTP
import JSON
import Sharding

/// One call of an endpoint: the request, who asks, and what was sent.
package struct Call: Sendable {
    package let request: Request
    /// What the token says; nil without one.
    package let authentication: Authentication?
    /// Query, body and nothing else; parts of the path are in `request.parameters`.
    package let input: Input
    /// Where clients reach this service, without a final slash.
    package let publicURL: String

    package init(
        request: Request,
        authentication: Authentication?,
        input: Input,
        publicURL: String
    ) {
        self.request = request
        self.authentication = authentication
        self.input = input
        self.publicURL = publicURL
    }

    package var loop: EventLoop { request.loop }

    /// The user who asks, if one does.
    package var viewer: UserID? { authentication?.user }

    /// The user who asks, on endpoints for users.
    package func user() throws(ServiceError) -> UserID {
        guard let user = authentication?.user else { throw .unauthorized }
        return user
    }

    /// An id in the path; what is no id names nothing.
    package func id<ID: RoutedID>(
        _ name: String = "id",
        as type: ID.Type = ID.self
    ) throws(ServiceError) -> ID {
        guard let text = request.parameters[name], let id = ID(text) else { throw .notFound }
        return id
    }
}

extension Response {
    package static func json(_ value: some JSONEncodable, status: Status = 200) -> Response {
        Response(
            status: status,
            contentType: "application/json; charset=utf-8",
            value.jsonBytes
        )
    }

    /// JSON that is written field by field.
    package static func json<E: Error>(
        status: Status = 200,
        _ write: (inout JSONWriter) throws(E) -> Void
    ) throws(E) -> Response {
        var json = JSONWriter(reserving: 4_096)
        try write(&json)
        return Response(
            status: status,
            contentType: "application/json; charset=utf-8",
            json.bytes
        )
    }

    /// `{}`, which is how Mastodon says that it is done.
    package static var emptyObject: Response { json { $0.object { _ in } } }

    package static var emptyList: Response { json { $0.array { _ in } } }
}
