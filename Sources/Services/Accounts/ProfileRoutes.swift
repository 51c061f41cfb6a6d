internal import Contracts
internal import HTTP
internal import JSON
internal import ServiceKit
internal import Sharding

/// Who one is, and who others are.
struct ProfileRoutes: Sendable {
    static let displayNameLimit = 30
    static let noteLimit = 500
    static let fieldLimit = 4
    static let fieldTextLimit = 255
    static let descriptionLimit = 1_500
    /// A picture and the fields around it.
    static let bodyLimit = 18 << 20
    static let manyLimit = 40

    let parts: AccountsParts

    var endpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v1/accounts/verify_credentials",
                operationID: "verifyAccount",
                summary: "The account of the token.",
                tag: "accounts",
                access: .user(["read:accounts", "profile"]),
                output: .entity("CredentialAccount"),
                handler: verify
            ),
            Endpoint(
                .patch,
                "/api/v1/accounts/update_credentials",
                operationID: "updateAccount",
                summary: "Change what one's own profile says and shows.",
                tag: "accounts",
                access: .user(["write:accounts"]),
                body: .input(limit: Self.bodyLimit),
                inputs: Self.profileInputs,
                output: .entity("CredentialAccount"),
                handler: update
            ),
            Endpoint(
                .get,
                "/api/v1/accounts",
                operationID: "getAccounts",
                summary: "Several accounts by their ids.",
                tag: "accounts",
                access: .optionalUser,
                inputs: [Parameter("id", .strings, required: true, "The ids.")],
                output: .list("Account"),
                handler: many
            ),
            Endpoint(
                .get,
                "/api/v1/accounts/:id",
                operationID: "getAccount",
                summary: "One account.",
                tag: "accounts",
                access: .optionalUser,
                output: .entity("Account"),
                handler: one
            ),
            Endpoint(
                .get,
                "/api/v1/preferences",
                operationID: "getPreferences",
                summary: "What the user has chosen as defaults.",
                tag: "accounts",
                access: .user(["read:accounts"]),
                output: .content("application/json"),
                handler: preferences
            ),
        ]
    }

    private static let profileInputs = [
        Parameter("display_name", .string, "The name shown."),
        Parameter("note", .string, "A few words."),
        Parameter("avatar", .file, "A picture; the empty text takes it away."),
        Parameter("avatar_description", .string, "What the picture shows."),
        Parameter("header", .file, "A wide picture; the empty text takes it away."),
        Parameter("header_description", .string, "What the picture shows."),
        Parameter("locked", .boolean, "Whether followers must be let in."),
        Parameter("bot", .boolean, "Whether a program posts here."),
        Parameter("discoverable", .boolean, "Whether others may be shown this account."),
        Parameter("indexable", .boolean, "Whether posts may be found by searching."),
        Parameter("hide_collections", .boolean, "Whether followers and following are hidden."),
        Parameter("fields_attributes", .object, "Up to four names and values."),
        Parameter("source", .object, "Defaults: privacy, sensitive, language."),
    ]

    // MARK: Reading

    @Sendable private func verify(_ call: Call) async throws -> Response {
        .json(try await parts.credentials(of: call.user()))
    }

    @Sendable private func one(_ call: Call) async throws -> Response {
        let id = try call.id(as: UserID.self)
        let account = try await parts.account(id, viewer: call.viewer)
        return Response.json(account).tagged(for: call.request)
    }

    @Sendable private func many(_ call: Call) async throws -> Response {
        let ids = call.input.strings("id").prefix(Self.manyLimit).compactMap { UserID($0) }
        let found = try await parts.directory.sight.accounts(ids, viewer: call.viewer)
        var seen: Set<UserID> = []
        return .json(ids.filter { seen.insert($0).inserted }.compactMap { found[$0] })
    }

    @Sendable private func preferences(_ call: Call) async throws -> Response {
        guard let account = try await parts.accounts.account(call.user()) else {
            throw ServiceError.unauthorized
        }
        return .json { json in
            json.object { json in
                json.field("posting:default:visibility", account.privacy.rawValue)
                json.field("posting:default:sensitive", account.sensitive)
                json.field("posting:default:language", account.language)
                json.field("posting:default:quote_policy", "nobody")
                json.field("reading:expand:media", "default")
                json.field("reading:expand:spoilers", false)
                json.field("reading:autoplay:gifs", false)
            }
        }
    }

    // MARK: Changing

    @Sendable private func update(_ call: Call) async throws -> Response {
        let user = try call.user()
        var change = try Self.change(call.input)
        change.avatar = try await picture("avatar", .avatar, user, call.input)
        change.header = try await picture("header", .header, user, call.input)
        try await parts.accounts.update(user, change)
        await parts.directory.forget(user)
        return try await verify(call)
    }

    /// A new picture, none (nil inside), or no change (nil).
    private func picture(
        _ name: String,
        _ use: ImageUse,
        _ user: UserID,
        _ input: Input
    ) async throws -> StoredImage?? {
        if let file = input.file(name) {
            guard !file.bytes.isEmpty else { return nil }
            return .some(try await parts.images.store(file.bytes, as: use, owner: user))
        }
        switch input[name] {
        case .text(""): return .some(nil)
        case .null, .none: return nil
        default: throw ServiceError.invalid("\(name) must be a picture in a multipart form")
        }
    }

    private static func change(_ input: Input) throws(ServiceError) -> ProfileChange {
        var change = ProfileChange()
        change.displayName = try line("display_name", displayNameLimit, input)
        change.note = try text("note", noteLimit, input)
        change.fields = try fields(input)
        change.avatarDescription = try text("avatar_description", descriptionLimit, input)
        change.headerDescription = try text("header_description", descriptionLimit, input)
        change.locked = input.bool("locked")
        change.bot = input.bool("bot")
        change.discoverable = input.bool("discoverable")
        change.indexable = input.bool("indexable")
        change.hideCollections = input.bool("hide_collections")
        if let source = input.object("source") {
            if let text = source.string("privacy") {
                guard let privacy = Visibility(rawValue: text),
                    Visibility.defaults.contains(privacy)
                else {
                    throw .invalid("source[privacy] is not a visibility")
                }
                change.privacy = privacy
            }
            change.sensitive = source.bool("sensitive")
            if let text = source.string("language"), !text.isEmpty {
                guard let language = LanguageTag(text) else {
                    throw .invalid("source[language] is not a language")
                }
                change.language = language.text
            }
        }
        return change
    }

    private static func text(
        _ name: String,
        _ limit: Int,
        _ input: Input
    ) throws(ServiceError) -> String? {
        guard let text = input.string(name) else { return nil }
        guard text.count <= limit, text.utf8.count <= 8 * limit, !text.utf8.contains(0) else {
            throw .invalid("\(name) is too long (maximum is \(limit) characters)")
        }
        return text
    }

    private static func line(
        _ name: String,
        _ limit: Int,
        _ input: Input
    ) throws(ServiceError) -> String? {
        guard let text = try text(name, limit, input)?.trimmed else { return nil }
        guard text.isPrintable else { throw .invalid("\(name) holds characters that it may not") }
        return text
    }

    private static func fields(
        _ input: Input
    ) throws(ServiceError) -> [(name: String, value: String)]? {
        guard input.has("fields_attributes") else { return nil }
        var fields: [(name: String, value: String)] = []
        for field in input.objects("fields_attributes") {
            let name = try line("name", fieldTextLimit, field) ?? ""
            let value = try line("value", fieldTextLimit, field) ?? ""
            if !name.isEmpty || !value.isEmpty { fields.append((name, value)) }
        }
        guard fields.count <= fieldLimit else {
            throw .invalid("There are too many profile fields (maximum is \(fieldLimit))")
        }
        return fields
    }
}
