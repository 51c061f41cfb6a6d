import HTTP

/// One operation of the API: where it is, who may call it, what it takes, and what does it.
///
/// The same declaration makes the route, the checks in front of it, its metrics and its part of
/// `/openapi.json`.
package struct Endpoint: Sendable {
    package enum Access: Sendable, Equatable {
        /// Anybody; a token is not looked at.
        case open
        /// Anybody; a token that is there must be valid.
        case optionalUser
        /// A token of an application or of a user, with one of these scopes (none: with any).
        case app([String] = [])
        /// A user's token with one of these scopes (none: with any).
        case user([String])
        /// Another node of this installation; to everybody else there is nothing at the path.
        case peer
    }

    /// How the body reaches the handler.
    package enum Body: Sendable, Equatable {
        /// It is read and merged into the input before the handler runs.
        case input(limit: Int)
        /// The handler reads `call.request.body` itself, at most so much of it.
        case raw(limit: Int)

        package var limit: Int {
            switch self {
            case .input(let limit), .raw(let limit): limit
            }
        }

        /// Large enough for every form of the API without a picture.
        package static let form = Body.input(limit: 256 << 10)
    }

    /// What a successful answer carries, for the description of the API.
    package enum Output: Sendable, Equatable {
        /// One entity, by the name of its schema.
        case entity(String)
        case list(String)
        case emptyObject
        case emptyList
        case nothing
        case content(String)
    }

    package let method: Method
    /// As the router takes it: `/api/v1/statuses/:id`.
    package let path: String
    package let operationID: String
    package let summary: String
    package let tag: String
    package let access: Access
    package let body: Body
    package let inputs: [Parameter]
    package let output: Output
    /// The status of success.
    package let success: Status
    /// Whether it may change what a page shows its user, so that kept ones are dropped: all that is not safe does,
    /// unless it says otherwise.
    package let isAction: Bool
    package let handler: @Sendable (Call) async throws -> Response

    package init(
        _ method: Method,
        _ path: String,
        operationID: String,
        summary: String,
        tag: String,
        access: Access,
        body: Body = .form,
        inputs: [Parameter] = [],
        output: Output,
        success: Status = 200,
        isAction: Bool? = nil,
        handler: @escaping @Sendable (Call) async throws -> Response
    ) {
        self.method = method
        self.path = path
        self.operationID = operationID
        self.summary = summary
        self.tag = tag
        self.access = access
        self.body = body
        self.inputs = inputs
        self.output = output
        self.success = success
        self.isAction = isAction ?? !method.isSafe
        self.handler = handler
    }
}

/// An input that an endpoint documents, in the query of a GET and else in the query or the body.
package struct Parameter: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        case string
        case integer
        case boolean
        case number
        /// Several texts: `name[]` in forms.
        case strings
        case file
        case object
        case oneOf([String])
    }

    package let name: String
    package let kind: Kind
    package let isRequired: Bool
    package let summary: String

    package init(_ name: String, _ kind: Kind = .string, required: Bool = false, _ summary: String)
    {
        self.name = name
        self.kind = kind
        isRequired = required
        self.summary = summary
    }

    /// What each list by id takes.
    package static let paging = [
        Parameter("max_id", .string, "Only what is older than this id."),
        Parameter("since_id", .string, "Only what is newer than this id."),
        Parameter("min_id", .string, "The page that starts just after this id."),
        Parameter("limit", .integer, "How many; more than the most allowed is cut."),
    ]
}

/// A part of the product: its endpoints, and the schema that it needs.
package protocol Service: Sendable {
    var endpoints: [Endpoint] { get }

    /// Its newest migration; a node refuses to start on a shard that has an older one.
    static var schema: SchemaRequirement { get }
}

/// The migration of a module that the code relies on.
package struct SchemaRequirement: Sendable, Hashable {
    package let module: String
    package let number: Int

    package init(module: String, number: Int) {
        self.module = module
        self.number = number
    }
}
