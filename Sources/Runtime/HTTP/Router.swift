/// Finds the handler of a request by its method and path.
///
/// A pattern's segments are literal, `:name` for any one segment, or, at the end, `*name` for all that is
/// left. A literal wins over a parameter. A path without route throws 404, a method without handler 405 with
/// `Allow`; HEAD is answered by GET's handler (the server leaves the body out); OPTIONS without a handler
/// is answered with `Allow`; one slash at the end is ignored.
package struct Router: Sendable {
    private var nodes = [Node()]

    private struct Node: Sendable {
        var literals: [(segment: [UInt8], node: Int)] = []
        var parameter: Int?
        var rest: Int?
        var route: Route?
    }

    private struct Route: Sendable {
        let pattern: String
        let names: [String]
        var handlers: [Entry?] = Array(repeating: nil, count: Method.allCases.count)
    }

    private struct Entry: Sendable {
        let handler: Handler
        let bodyLimit: Int?
    }

    package init() {}

    /// Adds a route; two handlers for one method and pattern are a mistake of the programmer.
    ///
    /// `bodyLimit` replaces the server's `HTTPLimits.bodyBytes` on this route.
    package mutating func add(
        _ method: Method,
        _ pattern: String,
        bodyLimit: Int? = nil,
        _ handler: @escaping Handler
    ) {
        precondition(pattern.hasPrefix("/"), "a pattern starts with a slash: \(pattern)")
        var node = 0
        var names: [String] = []
        let segments = pattern.split(separator: "/")
        for (index, segment) in segments.enumerated() {
            precondition(
                !segment.hasPrefix("*") || index == segments.count - 1,
                "nothing may follow *: \(pattern)"
            )
            node = child(of: node, for: segment, names: &names)
        }
        var route = nodes[node].route ?? Route(pattern: pattern, names: names)
        precondition(
            route.names == names,
            "\(pattern) and \(route.pattern) name their parameters differently"
        )
        precondition(route.handlers[method.slot] == nil, "\(method.rawValue) \(pattern) twice")
        route.handlers[method.slot] = Entry(handler: handler, bodyLimit: bodyLimit)
        nodes[node].route = route
    }

    private mutating func child(of node: Int, for segment: Substring, names: inout [String]) -> Int
    {
        let existing: Int?
        let bytes = Array(segment.utf8)
        switch segment.first {
        case ":":
            names.append(String(segment.dropFirst()))
            existing = nodes[node].parameter
        case "*":
            names.append(String(segment.dropFirst()))
            existing = nodes[node].rest
        default:
            existing = nodes[node].literals.first { $0.segment == bytes }?.node
        }
        if let existing { return existing }
        nodes.append(Node())
        let new = nodes.count - 1
        switch segment.first {
        case ":": nodes[node].parameter = new
        case "*": nodes[node].rest = new
        default: nodes[node].literals.append((bytes, new))
        }
        return new
    }

    /// Answers the request with the handler of its route.
    package func handle(_ request: Request) async throws -> Response {
        try await route(request)(request)
    }

    /// The handler of the request's route, whose parameters and body limit the request now has.
    package func route(_ request: Request) throws(HTTPError) -> Handler {
        let entry = try find(request)
        if let limit = entry.bodyLimit { request.body.limit = limit }
        if let length = request.body.declaredLength, length > request.body.limit {
            throw HTTPError.tooLarge(limit: request.body.limit)
        }
        return entry.handler
    }

    private func find(_ request: Request) throws(HTTPError) -> Entry {
        var values: [Range<Int>] = []
        let head = request.head
        let path = head.target.lowerBound..<head.pathEnd
        let found = head.bytes.withUnsafeBufferPointer { bytes in
            match(0, bytes, path.lowerBound, path.upperBound, &values)
        }
        guard let found, let route = nodes[found].route else {
            throw HTTPError(404, "There is nothing at this path.")
        }
        request.route = route.pattern
        if values.isEmpty { return try entry(of: route, for: head.method) }
        for (name, range) in zip(route.names, values) {
            let decoded = head.bytes.withUnsafeBufferPointer { bytes in
                PercentEncoding.decode(
                    UnsafeBufferPointer(rebasing: bytes[range]),
                    plusIsSpace: false
                )
            }
            guard let decoded else {
                throw HTTPError(400, "Malformed percent-encoding in the path.")
            }
            request.parameters.add(name, decoded)
        }
        return try entry(of: route, for: head.method)
    }

    private func entry(of route: Route, for method: Method) throws(HTTPError) -> Entry {
        if let entry = route.handlers[method.slot] { return entry }
        if method == .head, let entry = route.handlers[Method.get.slot] { return entry }
        let allow = Router.allowed(route)
        if method == .options {
            return Entry(
                handler: { _ in Response(status: 204, headers: ["Allow": allow]) },
                bodyLimit: nil
            )
        }
        throw HTTPError(405, "The path does not allow this method.", headers: ["Allow": allow])
    }

    private static func allowed(_ route: Route) -> String {
        let methods = Method.allCases.filter { method in
            switch method {
            case .options: true
            case .head: route.handlers[method.slot] != nil || route.handlers[Method.get.slot] != nil
            default: route.handlers[method.slot] != nil
            }
        }
        return methods.map(\.rawValue).joined(separator: ", ")
    }

    /// The node that the path from `start` leads to, with the ranges of its parameters.
    private func match(
        _ node: Int,
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ start: Int,
        _ end: Int,
        _ values: inout [Range<Int>]
    ) -> Int? {
        // `start` is at a slash or at the end; a slash at the very end is ignored.
        if start >= end || start == end - 1 {
            if nodes[node].route != nil { return node }
            guard let rest = nodes[node].rest else { return nil }
            values.append(end..<end)
            return rest
        }
        let from = start + 1
        var to = from
        while to < end, bytes[to] != UInt8(ascii: "/") { to += 1 }
        let segment = UnsafeBufferPointer(rebasing: bytes[from..<to])
        for literal in nodes[node].literals where segment.equals(literal.segment) {
            if let found = match(literal.node, bytes, to, end, &values) { return found }
        }
        if let parameter = nodes[node].parameter, to > from {
            values.append(from..<to)
            if let found = match(parameter, bytes, to, end, &values) { return found }
            values.removeLast()
        }
        guard let rest = nodes[node].rest else { return nil }
        values.append(from..<end)
        return rest
    }
}
