import JSON

/// The shape of JSON values, learnt from samples: what all of them have is required, null where one was.
package indirect enum JSONSchema: Sendable, JSONEncodable {
    case any
    case null
    case boolean
    case integer
    case number
    case string
    case array(JSONSchema)
    case object([String: (schema: JSONSchema, isRequired: Bool)])
    case nullable(JSONSchema)

    package init(of value: JSONValue) {
        if value.isNull {
            self = .null
        } else if value.string != nil {
            self = .string
        } else if value.bool != nil {
            self = .boolean
        } else if let members = value.object {
            self = .object(
                Dictionary(members.map { ($0.key, (JSONSchema(of: $0.value), true)) }) { $1 }
            )
        } else if let elements = value.array {
            let schemas = elements.map { JSONSchema(of: $0) }
            self = .array(
                schemas.dropFirst().reduce(schemas.first ?? .any) { $0.merged(with: $1) }
            )
        } else {
            // A whole number may be one by chance, but what we write as integers always are.
            self = value.int64 != nil ? .integer : .number
        }
    }

    /// The shape of what fits one or the other.
    package func merged(with other: JSONSchema) -> JSONSchema {
        switch (self, other) {
        case (.any, let known), (let known, .any): known
        case (.null, .null): .null
        case (.null, .nullable(let inner)), (.nullable(let inner), .null): .nullable(inner)
        case (.null, let inner), (let inner, .null): .nullable(inner)
        case (.nullable(let a), .nullable(let b)), (.nullable(let a), let b),
            (let a, .nullable(let b)):
            .nullable(a.merged(with: b))
        case (.boolean, .boolean): .boolean
        case (.string, .string): .string
        case (.integer, .integer): .integer
        case (.number, .number), (.integer, .number), (.number, .integer): .number
        case (.array(let a), .array(let b)): .array(a.merged(with: b))
        case (.object(let a), .object(let b)): .object(Self.merged(a, b))
        default: .any
        }
    }

    private static func merged(
        _ a: [String: (schema: JSONSchema, isRequired: Bool)],
        _ b: [String: (schema: JSONSchema, isRequired: Bool)]
    ) -> [String: (schema: JSONSchema, isRequired: Bool)] {
        var members = a.mapValues { ($0.schema, false) }
        for (name, member) in b {
            if let known = a[name] {
                members[name] = (
                    known.schema.merged(with: member.schema),
                    known.isRequired && member.isRequired
                )
            } else {
                members[name] = (member.schema, false)
            }
        }
        return members
    }

    package func write(to json: inout JSONWriter) {
        json.object { writeMembers(to: &$0, isNullable: false) }
    }

    private func writeMembers(to json: inout JSONWriter, isNullable: Bool) {
        func type(_ name: String) {
            if isNullable {
                json.field("type", [name, "null"])
            } else {
                json.field("type", name)
            }
        }
        switch self {
        case .any: break
        // Null in every sample says nothing of what it is when it is there.
        case .null: break
        case .boolean: type("boolean")
        case .integer: type("integer")
        case .number: type("number")
        case .string: type("string")
        case .array(let element):
            type("array")
            json.key("items")
            element.write(to: &json)
        case .object(let members):
            type("object")
            Self.write(members, to: &json)
        case .nullable(let inner): inner.writeMembers(to: &json, isNullable: true)
        }
    }

    private static func write(
        _ members: [String: (schema: JSONSchema, isRequired: Bool)],
        to json: inout JSONWriter
    ) {
        let names = members.keys.sorted()
        guard !names.isEmpty else { return }
        json.key("properties")
        json.object { json in
            for name in names {
                json.key(name)
                members[name]?.schema.write(to: &json)
            }
        }
        let required = names.filter { members[$0]?.isRequired == true }
        if !required.isEmpty { json.field("required", required) }
    }
}
