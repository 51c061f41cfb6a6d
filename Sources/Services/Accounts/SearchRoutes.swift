internal import Contracts
internal import HTTP
internal import ServiceKit

/// Finding accounts by their names.
struct SearchRoutes: Sendable {
    static let mostLimit = 80

    let parts: AccountsParts

    var endpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v1/accounts/lookup",
                operationID: "lookupAccount",
                summary: "The account with exactly this name.",
                tag: "accounts",
                access: .optionalUser,
                inputs: [Parameter("acct", .string, required: true, "`user` or `user@host`.")],
                output: .entity("Account"),
                handler: lookup
            ),
            Endpoint(
                .get,
                "/api/v1/accounts/search",
                operationID: "searchAccounts",
                summary: "Accounts whose name begins with a text.",
                tag: "accounts",
                access: .user(["read:accounts"]),
                inputs: [
                    Parameter(
                        "q",
                        .string,
                        required: true,
                        "A name, its beginning, or a page's address."
                    ),
                    Parameter("limit", .integer, "How many, at most \(Self.mostLimit)."),
                    Parameter("offset", .integer, "How many to leave out."),
                ],
                output: .list("Account"),
                handler: search
            ),
        ]
    }

    @Sendable private func lookup(_ call: Call) async throws -> Response {
        let name = try call.input.requiredString("acct")
        guard let id = try await parts.directory.find(address: name) else {
            throw ServiceError.notFound
        }
        return .json(try await parts.account(id, viewer: call.viewer))
    }

    @Sendable private func search(_ call: Call) async throws -> Response {
        .json(try await accounts(call))
    }

    private func accounts(_ call: Call) async throws -> [AccountEntity] {
        let query = try call.input.requiredString("q")
        let limit = min(max(call.input.int("limit") ?? 20, 1), Self.mostLimit)
        let offset = min(max(call.input.int("offset") ?? 0, 0), Self.mostLimit)
        if let address = AccountAddress(query, publicURL: parts.publicURL), let id = address.id {
            let found = try await parts.directory.sight.account(id, viewer: call.viewer)
            return offset == 0 ? [found].compactMap { $0 } : []
        }
        let found = try await parts.directory.search(
            query,
            limit: limit + offset,
            viewer: call.viewer
        )
        return Array(found.dropFirst(offset))
    }
}
