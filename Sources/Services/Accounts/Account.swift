internal import Contracts
internal import JSON
internal import Postgres
internal import Sharding

/// A user as their row says, with what is counted about them.
struct Account: Sendable, Equatable {
    enum State: Int16, Sendable {
        case active = 1
        case suspended = 2
        case deleted = 3
    }

    enum Role: Int16, Sendable {
        case everyone = 0
        case administrator = 10
    }

    struct Picture: Sendable, Equatable {
        var url: String
        var staticURL: String
    }

    var id: UserID
    var username: String
    var usernameFolded: String
    var state: State
    var role: Role
    var createdAt: Timestamp
    var displayName: String
    var note: String
    var fieldNames: [String]
    var fieldValues: [String]
    var avatar: Picture?
    var avatarDescription: String
    var header: Picture?
    var headerDescription: String
    var locked: Bool
    var bot: Bool
    var discoverable: Bool
    var indexable: Bool
    var hideCollections: Bool
    /// Shown to followers only where strangers are shown; moderators decide it.
    var limited: Bool
    var privacy: Visibility
    var sensitive: Bool
    var language: String?
    var followers: Int
    var following: Int
    var statuses: Int
    /// The newest post that counts; its id says when it was made.
    var lastStatus: PostID?
}

extension Account: RowDecodable {
    /// In the order of ``AccountStore``'s list of columns.
    init(row: inout Row) throws(DatabaseError) {
        id = try row.next()
        username = try row.next()
        usernameFolded = try row.next()
        state = try Self.value(row.next(Int16.self))
        role = try Self.value(row.next(Int16.self))
        createdAt = try row.next()
        displayName = try row.next()
        note = try row.next()
        fieldNames = try row.next()
        fieldValues = try row.next()
        avatar = try Self.picture(row.next(), row.next())
        avatarDescription = try row.next()
        header = try Self.picture(row.next(), row.next())
        headerDescription = try row.next()
        locked = try row.next()
        bot = try row.next()
        discoverable = try row.next()
        indexable = try row.next()
        hideCollections = try row.next()
        limited = try row.next()
        privacy = try Self.value(row.next(String.self))
        sensitive = try row.next()
        language = try row.next()
        followers = Int(try row.next(Int64.self))
        following = Int(try row.next(Int64.self))
        statuses = Int(try row.next(Int64.self))
        lastStatus = try row.next(Int64?.self).map { PostID(rawValue: $0) }
    }

    private static func picture(_ url: String?, _ staticURL: String?) -> Picture? {
        url.map { Picture(url: $0, staticURL: staticURL ?? $0) }
    }

    private static func value<Value: RawRepresentable>(
        _ raw: Value.RawValue
    ) throws(DatabaseError) -> Value {
        guard let value = Value(rawValue: raw) else {
            throw .decoding("\(raw) is no \(Value.self)")
        }
        return value
    }
}

// MARK: In the cache

extension Account: JSONEncodable {
    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("i", id.rawValue)
            json.field("u", username)
            json.field("uf", usernameFolded)
            json.field("s", state.rawValue)
            json.field("r", role.rawValue)
            json.field("c", createdAt.microseconds)
            json.field("d", displayName)
            json.field("n", note)
            json.field("fn", fieldNames)
            json.field("fv", fieldValues)
            json.field("a", avatar.map { [$0.url, $0.staticURL] })
            json.field("ad", avatarDescription)
            json.field("h", header.map { [$0.url, $0.staticURL] })
            json.field("hd", headerDescription)
            json.field(
                "f",
                [locked, bot, discoverable, indexable, hideCollections, sensitive, limited]
            )
            json.field("p", privacy.rawValue)
            json.field("l", language)
            json.field("k", [followers, following, statuses])
            json.field("ls", lastStatus?.rawValue)
        }
    }

    /// Nil for what another version of this program has put there: then it is a miss.
    init?(_ value: JSONValue) {
        guard let json = JSONMembers(value) else { return nil }
        guard let flags = json["f"]?.array?.map(\.bool), flags.count == 7,
            let counts = json["k"]?.array?.map(\.int), counts.count == 3,
            let id = json["i"]?.int64, let username = json["u"]?.string,
            let usernameFolded = json["uf"]?.string,
            let state = json["s"]?.int.flatMap({ State(rawValue: Int16($0)) }),
            let role = json["r"]?.int.flatMap({ Role(rawValue: Int16($0)) }),
            let createdAt = json["c"]?.int64, let displayName = json["d"]?.string,
            let note = json["n"]?.string, let privacy = json["p"]?.string.flatMap(Visibility.init)
        else { return nil }
        self.id = UserID(rawValue: id)
        self.username = username
        self.usernameFolded = usernameFolded
        self.state = state
        self.role = role
        self.createdAt = Timestamp(microseconds: createdAt)
        self.displayName = displayName
        self.note = note
        fieldNames = json["fn"]?.array?.compactMap(\.string) ?? []
        fieldValues = json["fv"]?.array?.compactMap(\.string) ?? []
        guard fieldNames.count == fieldValues.count else { return nil }
        avatar = Self.picture(json["a"]?[0]?.string, json["a"]?[1]?.string)
        avatarDescription = json["ad"]?.string ?? ""
        header = Self.picture(json["h"]?[0]?.string, json["h"]?[1]?.string)
        headerDescription = json["hd"]?.string ?? ""
        locked = flags[0] ?? false
        bot = flags[1] ?? false
        discoverable = flags[2] ?? false
        indexable = flags[3] ?? false
        hideCollections = flags[4] ?? false
        sensitive = flags[5] ?? false
        limited = flags[6] ?? false
        self.privacy = privacy
        language = json["l"]?.string
        followers = counts[0] ?? 0
        following = counts[1] ?? 0
        statuses = counts[2] ?? 0
        lastStatus = json["ls"]?.int64.map { PostID(rawValue: $0) }
    }
}

// MARK: As clients see it

extension Account {
    func entity(publicURL: String) -> AccountEntity {
        AccountEntity(
            id: id,
            username: username,
            displayName: displayName,
            url: "\(publicURL)/@\(username)",
            uri: "\(publicURL)/users/\(id)",
            note: Self.html(note, publicURL),
            avatar: avatar?.url ?? publicURL + DefaultPicture.avatarPath,
            avatarStatic: avatar?.staticURL,
            header: header?.url ?? publicURL + DefaultPicture.headerPath,
            headerStatic: header?.staticURL,
            avatarDescription: avatarDescription,
            headerDescription: headerDescription,
            locked: locked,
            bot: bot,
            discoverable: discoverable,
            indexable: indexable,
            noindex: !indexable,
            hideCollections: hideCollections,
            suspended: state == .suspended,
            limited: limited,
            fields: zip(fieldNames, fieldValues).map { name, value in
                AccountEntity.Field(name: name, value: Self.inline(value, publicURL))
            },
            createdAt: createdAt,
            lastStatusAt: lastStatus?.createdAt,
            statusesCount: max(0, statuses),
            followersCount: max(0, followers),
            followingCount: max(0, following)
        )
    }

    func credentialEntity(publicURL: String, followRequests: Int) -> CredentialAccountEntity {
        CredentialAccountEntity(
            account: entity(publicURL: publicURL),
            source: CredentialAccountEntity.Source(
                note: note,
                fields: zip(fieldNames, fieldValues).map { name, value in
                    AccountEntity.Field(name: name, value: value)
                },
                privacy: privacy,
                sensitive: sensitive,
                language: language,
                followRequestsCount: followRequests
            ),
            role: role == .administrator ? .administrator : .everyone
        )
    }

    private static func html(_ text: String, _ publicURL: String) -> String {
        RichText(text).html { tag in "\(publicURL)/tags/\(tag)" }
    }

    /// A field's value is one line: the same without its paragraph.
    private static func inline(_ text: String, _ publicURL: String) -> String {
        let html = html(text, publicURL)
        guard html.hasPrefix("<p>"), html.hasSuffix("</p>") else { return html }
        return String(html.dropFirst(3).dropLast(4))
    }
}
