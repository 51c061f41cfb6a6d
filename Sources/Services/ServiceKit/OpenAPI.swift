import HTTP
import JSON

/// The description of the API, made from the declarations that also make its routes.
package struct OpenAPI: Sendable {
    private let endpoints: [Endpoint]
    private let version: String
    private let serverURL: String
    private let schemas: [String: JSONSchema]

    /// `samples` holds, for each name of an entity, JSON that the entity itself has written.
    package init(
        endpoints: [Endpoint],
        version: String,
        serverURL: String,
        samples: [(name: String, json: [UInt8])]
    ) {
        self.endpoints = endpoints.filter { $0.access != .peer }
        self.version = version
        self.serverURL = serverURL
        var schemas: [String: JSONSchema] = [:]
        for sample in samples {
            // Whatever is wrong with it, it is the program that is wrong.
            guard let value = try? JSONReader.parse(sample.json) else {
                preconditionFailure("the sample of \(sample.name) is no JSON")
            }
            let schema = JSONSchema(of: value)
            schemas[sample.name] = schemas[sample.name].map { $0.merged(with: schema) } ?? schema
        }
        self.schemas = schemas
    }

    /// `GET /openapi.json`, which describes itself as well.
    package static func endpoint(
        describing endpoints: [Endpoint],
        version: String,
        serverURL: String,
        samples: [(name: String, json: [UInt8])]
    ) -> Endpoint {
        func make(
            _ handler: @escaping @Sendable (Call) async throws -> Response
        ) -> Endpoint {
            Endpoint(
                .get,
                "/openapi.json",
                operationID: "getOpenAPI",
                summary: "This description.",
                tag: "instance",
                access: .open,
                output: .content("application/json"),
                handler: handler
            )
        }
        let all = endpoints + [make { _ in .emptyObject }]
        let description = OpenAPI(
            endpoints: all,
            version: version,
            serverURL: serverURL,
            samples: samples
        )
        let bytes = description.document
        return make { call in
            var response = Response(contentType: "application/json; charset=utf-8", bytes)
            response.headers["Cache-Control"] = "public, max-age=300"
            return response.tagged(for: call.request)
        }
    }

    /// OpenAPI 3.1, as JSON.
    package var document: [UInt8] {
        var json = JSONWriter(reserving: 256 << 10)
        json.object { json in
            json.field("openapi", "3.1.0")
            json.key("info")
            json.object { json in
                json.field("title", "Tessera")
                json.field("version", version)
                json.field(
                    "summary",
                    "The Mastodon client API of a photo network, as far as it is there."
                )
                json.key("license")
                json.object { json in
                    json.field("name", "Apache-2.0")
                    json.field("identifier", "Apache-2.0")
                }
            }
            json.key("servers")
            json.array { json in json.object { $0.field("url", serverURL) } }
            json.key("paths")
            writePaths(to: &json)
            json.key("components")
            writeComponents(to: &json)
        }
        return json.bytes
    }

    // MARK: Paths

    private func writePaths(to json: inout JSONWriter) {
        var byPath: [String: [Endpoint]] = [:]
        for endpoint in endpoints {
            byPath[Self.template(endpoint.path), default: []].append(endpoint)
        }
        json.object { json in
            for (path, endpoints) in byPath.sorted(by: { $0.key < $1.key }) {
                json.key(path)
                json.object { json in
                    for endpoint in endpoints.sorted(by: { $0.method.rawValue < $1.method.rawValue }
                    ) {
                        json.key(endpoint.method.rawValue.lowercased())
                        write(endpoint, to: &json)
                    }
                }
            }
        }
    }

    /// `/a/:id/*rest` as `/a/{id}/{rest}`.
    static func template(_ path: String) -> String {
        path.split(separator: "/", omittingEmptySubsequences: false).map { part in
            part.hasPrefix(":") || part.hasPrefix("*") ? "{\(part.dropFirst())}" : String(part)
        }.joined(separator: "/")
    }

    private func write(_ endpoint: Endpoint, to json: inout JSONWriter) {
        json.object { json in
            json.field("operationId", endpoint.operationID)
            json.field("summary", endpoint.summary)
            json.field("tags", [endpoint.tag])
            writeSecurity(endpoint.access, to: &json)
            writeParameters(endpoint, to: &json)
            if endpoint.takesBody, !endpoint.inputs.isEmpty { writeBody(endpoint, to: &json) }
            json.key("responses")
            writeResponses(endpoint, to: &json)
        }
    }

    private func writeSecurity(_ access: Endpoint.Access, to json: inout JSONWriter) {
        json.key("security")
        json.array { json in
            func scheme(_ scopes: [String], _ json: inout JSONWriter) {
                json.object { json in
                    json.key("oauth")
                    json.array(scopes)
                }
            }
            switch access {
            case .open, .peer: break
            case .optionalUser:
                json.object { _ in }
                scheme([], &json)
            // Any one of the scopes will do, so each is an alternative of its own.
            case .app(let scopes), .user(let scopes):
                if scopes.isEmpty { scheme([], &json) }
                for scope in scopes { scheme([scope], &json) }
            }
        }
    }

    private func writeParameters(_ endpoint: Endpoint, to json: inout JSONWriter) {
        let inPath = endpoint.path.split(separator: "/").filter {
            $0.hasPrefix(":") || $0.hasPrefix("*")
        }
        let inQuery = endpoint.takesBody ? [] : endpoint.inputs
        let takesKey = endpoint.method == .post
        guard !inPath.isEmpty || !inQuery.isEmpty || takesKey else { return }
        json.key("parameters")
        json.array { json in
            for part in inPath {
                json.object { json in
                    json.field("name", String(part.dropFirst()))
                    json.field("in", "path")
                    json.field("required", true)
                    json.key("schema")
                    json.object { $0.field("type", "string") }
                }
            }
            for input in inQuery {
                json.object { json in
                    json.field("name", input.kind == .strings ? input.name + "[]" : input.name)
                    json.field("in", "query")
                    json.field("description", input.summary)
                    if input.isRequired { json.field("required", true) }
                    json.key("schema")
                    input.kind.writeSchema(to: &json)
                }
            }
            if takesKey {
                json.object { json in
                    json.field("name", "Idempotency-Key")
                    json.field("in", "header")
                    json.field(
                        "description",
                        "The same key with the same body gets the first answer."
                    )
                    json.key("schema")
                    json.object { json in
                        json.field("type", "string")
                        json.field("maxLength", Idempotency.keyLimitBytes)
                    }
                }
            }
        }
    }

    private func writeBody(_ endpoint: Endpoint, to json: inout JSONWriter) {
        let hasFile = endpoint.inputs.contains { $0.kind == .file }
        let types =
            hasFile
            ? ["multipart/form-data"]
            : ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"]
        json.key("requestBody")
        json.object { json in
            json.field("required", endpoint.inputs.contains(where: \.isRequired))
            json.key("content")
            json.object { json in
                for type in types {
                    json.key(type)
                    json.object { json in
                        json.key("schema")
                        writeForm(endpoint.inputs, isJSON: type == "application/json", to: &json)
                    }
                }
            }
        }
    }

    private func writeForm(_ inputs: [Parameter], isJSON: Bool, to json: inout JSONWriter) {
        func name(_ input: Parameter) -> String {
            input.kind == .strings && !isJSON ? input.name + "[]" : input.name
        }
        json.object { json in
            json.field("type", "object")
            json.key("properties")
            json.object { json in
                for input in inputs {
                    json.key(name(input))
                    input.kind.writeSchema(description: input.summary, to: &json)
                }
            }
            let required = inputs.filter(\.isRequired).map(name)
            if !required.isEmpty { json.field("required", required) }
        }
    }

    private func writeResponses(_ endpoint: Endpoint, to json: inout JSONWriter) {
        json.object { json in
            json.key(String(endpoint.success.code))
            json.object { json in
                json.field("description", "Done.")
                writeContent(endpoint.output, to: &json)
            }
            for code in endpoint.refusals {
                json.key(String(code))
                json.object { $0.field("$ref", "#/components/responses/Problem") }
            }
            json.key("default")
            json.object { $0.field("$ref", "#/components/responses/Problem") }
        }
    }

    private func writeContent(_ output: Endpoint.Output, to json: inout JSONWriter) {
        guard output != .nothing else { return }
        json.key("content")
        json.object { json in
            switch output {
            case .nothing: break
            case .content(let type):
                json.key(type)
                json.object { _ in }
            case .entity(let name):
                json.key("application/json")
                json.object { json in
                    json.key("schema")
                    reference(name, to: &json)
                }
            case .list(let name):
                json.key("application/json")
                json.object { json in
                    json.key("schema")
                    json.object { json in
                        json.field("type", "array")
                        json.key("items")
                        reference(name, to: &json)
                    }
                }
            case .emptyList:
                json.key("application/json")
                json.object { json in
                    json.key("schema")
                    json.object { json in
                        json.field("type", "array")
                        json.field("maxItems", 0)
                    }
                }
            case .emptyObject:
                json.key("application/json")
                json.object { json in
                    json.key("schema")
                    json.object { $0.field("type", "object") }
                }
            }
        }
    }

    private func reference(_ name: String, to json: inout JSONWriter) {
        json.object { json in
            if schemas[name] != nil {
                json.field("$ref", "#/components/schemas/\(name)")
            } else {
                json.field("type", "object")
                json.field("title", name)
            }
        }
    }

    // MARK: Components

    private func writeComponents(to json: inout JSONWriter) {
        json.object { json in
            json.key("schemas")
            json.object { json in
                for (name, schema) in schemas.sorted(by: { $0.key < $1.key }) {
                    json.key(name)
                    schema.write(to: &json)
                }
                json.key("Problem")
                Self.problem.write(to: &json)
            }
            json.key("responses")
            json.object { json in
                json.key("Problem")
                json.object { json in
                    json.field("description", "Why it was not done (RFC 9457).")
                    json.key("content")
                    json.object { json in
                        json.key("application/problem+json")
                        json.object { json in
                            json.key("schema")
                            json.object { $0.field("$ref", "#/components/schemas/Problem") }
                        }
                    }
                }
            }
            json.key("securitySchemes")
            json.object { json in
                json.key("oauth")
                writeScheme(to: &json)
            }
        }
    }

    private static var problem: JSONSchema {
        .object([
            "type": (.string, true), "title": (.string, true), "status": (.integer, true),
            "detail": (.string, true), "code": (.string, true), "error": (.string, true),
            "error_description": (.string, false), "trace_id": (.string, false),
            "details": (.object([:]), false), "errors": (.array(.object([:])), false),
        ])
    }

    private func writeScheme(to json: inout JSONWriter) {
        var scopes: Set<String> = ["read", "write", "follow", "push"]
        for endpoint in endpoints { scopes.formUnion(endpoint.scopes) }
        func flow(_ json: inout JSONWriter, authorizes: Bool) {
            json.object { json in
                if authorizes {
                    json.field("authorizationUrl", serverURL + "/oauth/authorize")
                }
                json.field("tokenUrl", serverURL + "/oauth/token")
                json.key("scopes")
                json.object { json in
                    for scope in scopes.sorted() {
                        json.key(scope)
                        json.string(scope)
                    }
                }
            }
        }
        json.object { json in
            json.field("type", "oauth2")
            json.key("flows")
            json.object { json in
                json.key("authorizationCode")
                flow(&json, authorizes: true)
                json.key("clientCredentials")
                flow(&json, authorizes: false)
            }
        }
    }
}

extension Endpoint {
    var takesBody: Bool {
        switch method {
        case .post, .put, .patch: true
        case .get, .head, .delete, .options: false
        }
    }

    var scopes: [String] {
        switch access {
        case .open, .optionalUser, .peer: []
        case .app(let scopes), .user(let scopes): scopes
        }
    }

    /// The statuses of refusals that this operation may answer with, by what it checks.
    var refusals: [Int] {
        var codes: Set<Int> = [503]
        if access != .open { codes.insert(401) }
        if !scopes.isEmpty { codes.insert(403) }
        if path.contains(":") || path.contains("*") { codes.insert(404) }
        if !inputs.isEmpty { codes.formUnion([400, 422]) }
        if takesBody { codes.formUnion([400, 413, 415, 422]) }
        if method == .post { codes.insert(409) }
        return codes.sorted()
    }
}

extension Parameter.Kind {
    func writeSchema(description: String? = nil, to json: inout JSONWriter) {
        json.object { json in
            switch self {
            case .string: json.field("type", "string")
            case .integer: json.field("type", "integer")
            case .boolean: json.field("type", "boolean")
            case .number: json.field("type", "number")
            case .strings:
                json.field("type", "array")
                json.key("items")
                json.object { $0.field("type", "string") }
            case .file:
                json.field("type", "string")
                json.field("contentMediaType", "application/octet-stream")
            case .object: json.field("type", ["object", "array"])
            case .oneOf(let choices):
                json.field("type", "string")
                json.field("enum", choices)
            }
            if let description { json.field("description", description) }
        }
    }
}
