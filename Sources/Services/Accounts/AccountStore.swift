internal import Contracts
internal import Database
internal import Jobs
internal import Postgres
internal import Sharding

/// Every statement on accounts and their credentials.
struct AccountStore: Sendable {
    let database: Database

    // MARK: Making

    /// New ids in a bucket.
    func nextIDs(_ count: Int, in bucket: BucketID) async throws(DatabaseError) -> [Int64] {
        let rows = try await database.write(
            on: bucket,
            ["SELECT control.next_ids(\(bucket), \(Int32(count)))"]
        )
        return try rows[0].decode(as: Int64.self)
    }

    /// The statements that make an account; they belong into the write that commits its names.
    func creation(of account: NewAccount) -> [SQL] {
        [
            """
            INSERT INTO accounts.account
                (bucket, id, username, username_folded, role, default_language)
            VALUES (\(account.id.bucket), \(account.id), \(account.username.text),
                \(account.username.folded), \(account.role.rawValue), \(account.language))
            """,
            """
            INSERT INTO accounts.credential (bucket, user_id, email, password_hash)
            VALUES (\(account.id.bucket), \(account.id), \(account.email.text),
                \(account.passwordHash))
            """,
        ]
    }

    func create(
        _ account: NewAccount,
        decision: DecisionID,
        alongside others: [SQL]
    ) async throws(DatabaseError) {
        let names = [ClaimedName(account.username), ClaimedName(account.email)]
        let confirm = Effect(
            AccountEffects.confirm,
            owner: account.id,
            payload: ConfirmPayload(names: names, decision: decision)
        )
        _ = try await database.write(
            on: account.id,
            [NameStore.commit(decision)] + creation(of: account) + others + [confirm.enqueue]
        )
    }

    // MARK: Reading

    private static let columns: SQL = """
        a.id, a.username, a.username_folded, a.state, a.role, a.created_at, a.display_name, a.note,
        a.field_names, a.field_values, a.avatar_url, a.avatar_static_url, a.avatar_description,
        a.header_url, a.header_static_url, a.header_description, a.locked, a.bot, a.discoverable,
        a.indexable, a.hide_collections, a.limited, a.default_privacy, a.default_sensitive,
        a.default_language,
        \(fragment: count(.followers)), \(fragment: count(.following)),
        \(fragment: count(.statuses)),
        (
            SELECT max(l.id) FROM posts.listed AS l
            WHERE l.bucket = a.bucket AND l.author = a.id
        )
        """

    private static func count(_ kind: CounterKind) -> SQL {
        """
        coalesce((
            SELECT c.value FROM counters.current AS c
            WHERE c.bucket = a.bucket AND c.subject = a.id AND c.kind = \(kind.rawValue)
        ), 0)
        """
    }

    /// The accounts among these that are there and not deleted; one query a shard.
    func accounts(_ ids: [UserID]) async throws(DatabaseError) -> [Account] {
        try await database.gather(ids) { ids in
            """
            SELECT \(fragment: Self.columns)
            FROM unnest(
                \(ids.map(\.bucket.rawValue))::smallint[], \(ids.map(\.rawValue))::bigint[]
            ) AS asked (bucket, id)
            JOIN accounts.account AS a USING (bucket, id)
            WHERE a.state <> \(Account.State.deleted.rawValue)
            """
        }
    }

    func account(_ id: UserID) async throws(DatabaseError) -> Account? {
        try await database.row(
            """
            SELECT \(fragment: Self.columns)
            FROM accounts.account AS a
            WHERE a.bucket = \(id.bucket) AND a.id = \(id)
                AND a.state <> \(Account.State.deleted.rawValue)
            """,
            on: id
        )
    }

    /// How many ask to follow the user, from the user's shard.
    func followRequests(to id: UserID) async throws(DatabaseError) -> Int {
        try await database.row(
            """
            SELECT count(*)
            FROM graph.requested
            WHERE bucket = \(id.bucket) AND followed = \(id)
            """,
            on: id
        ) ?? 0
    }

    /// Accounts whose folded username begins with `prefix`, shortest names first; asks all shards.
    func accountsOnEveryShard(
        beginningWith prefix: String,
        limit: Int
    ) async throws(DatabaseError) -> [Account] {
        // The name holds letters, digits, dots and underscores; only the last means something in LIKE.
        let pattern = prefix.replacing("_", with: "\\_") + "%"
        let shards: [(ShardID, [Account])] = try await database.everyShard(
            """
            SELECT \(fragment: Self.columns)
            FROM accounts.account AS a
            WHERE a.state = \(Account.State.active.rawValue)
                AND a.username_folded LIKE \(pattern) AND a.discoverable
                AND a.bucket IN (
                    SELECT bucket FROM control.bucket_owner WHERE state IN ('own', 'fenced')
                )
            ORDER BY length(a.username_folded), a.username_folded
            LIMIT \(limit)
            """
        )
        // A bucket that was handed over between two looks comes twice.
        let accounts = Dictionary(shards.flatMap(\.1).map { ($0.id, $0) }) { first, _ in first }
        let found = accounts.values.sorted {
            ($0.usernameFolded.count, $0.usernameFolded, $0.id)
                < ($1.usernameFolded.count, $1.usernameFolded, $1.id)
        }
        return Array(found.prefix(limit))
    }

    /// How many accounts there are on all shards, about.
    func estimatedCount() async throws(DatabaseError) -> Int {
        try await database.estimatedRows(of: "accounts.account")
    }

    func credential(_ id: UserID) async throws(DatabaseError) -> Credential? {
        try await database.row(
            """
            SELECT c.user_id, a.username, c.email, c.password_hash
            FROM accounts.credential AS c
            JOIN accounts.account AS a ON a.bucket = c.bucket AND a.id = c.user_id
            WHERE c.bucket = \(id.bucket) AND c.user_id = \(id)
                AND a.state = \(Account.State.active.rawValue)
            """,
            on: id
        )
    }

    // MARK: Changing

    /// Changes what is given and leaves the rest.
    func update(_ id: UserID, _ change: ProfileChange) async throws(DatabaseError) {
        let avatar = change.avatar
        let header = change.header
        _ = try await database.write(
            on: id,
            [
                """
                UPDATE accounts.account
                SET version = version + 1,
                    display_name = coalesce(\(change.displayName), display_name),
                    note = coalesce(\(change.note), note),
                    field_names = coalesce(\(change.fields?.map(\.name)), field_names),
                    field_values = coalesce(\(change.fields?.map(\.value)), field_values),
                    avatar_url = CASE WHEN \(avatar != nil)
                        THEN \(avatar??.url) ELSE avatar_url END,
                    avatar_static_url = CASE WHEN \(avatar != nil)
                        THEN \(avatar??.staticURL) ELSE avatar_static_url END,
                    avatar_description = coalesce(\(change.avatarDescription), avatar_description),
                    header_url = CASE WHEN \(header != nil)
                        THEN \(header??.url) ELSE header_url END,
                    header_static_url = CASE WHEN \(header != nil)
                        THEN \(header??.staticURL) ELSE header_static_url END,
                    header_description = coalesce(\(change.headerDescription), header_description),
                    locked = coalesce(\(change.locked), locked),
                    bot = coalesce(\(change.bot), bot),
                    discoverable = coalesce(\(change.discoverable), discoverable),
                    indexable = coalesce(\(change.indexable), indexable),
                    hide_collections = coalesce(\(change.hideCollections), hide_collections),
                    default_privacy = coalesce(\(change.privacy?.rawValue), default_privacy),
                    default_sensitive = coalesce(\(change.sensitive), default_sensitive),
                    default_language = coalesce(\(change.language), default_language)
                WHERE bucket = \(id.bucket) AND id = \(id)
                    AND state = \(Account.State.active.rawValue)
                """
            ]
        )
    }

    /// Changes what moderators decide about an account, where it is not deleted; false if it is.
    func restrain(
        _ id: UserID,
        _ state: Account.State,
        limited: Bool,
        alongside others: [SQL]
    ) async throws(DatabaseError) -> Bool {
        let rows = try await database.write(
            on: id,
            [
                """
                UPDATE accounts.account
                SET state = \(state.rawValue), limited = \(limited), version = version + 1
                WHERE bucket = \(id.bucket) AND id = \(id)
                    AND state <> \(Account.State.deleted.rawValue)
                """
            ] + others
        )
        return rows[0].affected == 1
    }

    /// Replaces the password; `alongside` ends the sessions that it opened.
    func setPassword(
        _ hash: String,
        of id: UserID,
        alongside others: [SQL] = []
    ) async throws(DatabaseError) {
        _ = try await database.write(
            on: id,
            [
                """
                UPDATE accounts.credential SET password_hash = \(hash), changed_at = now()
                WHERE bucket = \(id.bucket) AND user_id = \(id)
                """
            ] + others
        )
    }

    /// Puts another cost's hash of the same password in the place of `old`.
    func rehash(_ id: UserID, from old: String, to new: String) async throws(DatabaseError) {
        _ = try await database.write(
            on: id,
            [
                """
                UPDATE accounts.credential SET password_hash = \(new)
                WHERE bucket = \(id.bucket) AND user_id = \(id) AND password_hash = \(old)
                """
            ]
        )
    }

    /// Takes a new username, decided under `decision`; false if the user is gone or has another name by now.
    func rename(
        _ id: UserID,
        from old: Username,
        to new: Username,
        decision: DecisionID
    ) async throws(DatabaseError) -> Bool {
        let confirm = Effect(
            AccountEffects.confirm,
            owner: id,
            payload: ConfirmPayload(names: [ClaimedName(new)], decision: decision)
        )
        let leave = Effect(
            AccountEffects.leave,
            owner: id,
            payload: ClaimPayload(
                name: ClaimedName(old),
                holder: ClaimHolder(user: id, decision: decision)
            )
        )
        // The decision counts only with the change: if no row changes, none is inserted.
        let rows = try await database.write(
            on: id,
            [
                """
                WITH renamed AS (
                    UPDATE accounts.account
                    SET username = \(new.text), username_folded = \(new.folded),
                        version = version + 1
                    WHERE bucket = \(id.bucket) AND id = \(id)
                        AND username_folded = \(old.folded)
                        AND state = \(Account.State.active.rawValue)
                    RETURNING bucket
                )
                INSERT INTO accounts.decision (bucket, id, committed)
                SELECT bucket, \(decision), true FROM renamed
                """,
                """
                WITH decided AS (
                    SELECT FROM accounts.decision
                    WHERE bucket = \(id.bucket) AND id = \(decision) AND committed
                )
                \(fragment: confirm.enqueue(whenAny: "decided"))
                """,
                """
                WITH decided AS (
                    SELECT FROM accounts.decision
                    WHERE bucket = \(id.bucket) AND id = \(decision) AND committed
                )
                \(fragment: leave.enqueue(whenAny: "decided"))
                """,
            ]
        )
        return rows[0].affected == 1
    }

    /// Leaves a tombstone: the username stays taken, everything the user said about themselves goes, and what
    /// the other services keep of the user follows by effects.
    func delete(_ account: Credential, alongside others: [SQL]) async throws(DatabaseError) {
        let id = account.user
        var statements = others
        if let email = EmailAddress(account.email) {
            let leave = Effect(
                AccountEffects.leave,
                owner: id,
                payload: ClaimPayload(
                    name: ClaimedName(email),
                    // Whatever decision gave the address, this is later.
                    holder: ClaimHolder(user: id, decision: DecisionID(rawValue: .max))
                )
            )
            statements.append(leave.enqueue)
        }
        statements += AccountEffects.departure(of: id).map(\.enqueue)
        statements += [
            """
            UPDATE accounts.account
            SET state = \(Account.State.deleted.rawValue), version = version + 1,
                display_name = '', note = '', field_names = '{}', field_values = '{}',
                avatar_url = NULL, avatar_static_url = NULL, avatar_description = '',
                header_url = NULL, header_static_url = NULL, header_description = ''
            WHERE bucket = \(id.bucket) AND id = \(id)
            """,
            """
            DELETE FROM accounts.credential WHERE bucket = \(id.bucket) AND user_id = \(id)
            """,
        ]
        _ = try await database.write(on: id, statements)
    }
}

/// What a sign-up puts into the shard.
struct NewAccount: Sendable {
    var id: UserID
    var username: Username
    var email: EmailAddress
    var passwordHash: String
    var role: Account.Role
    var language: String?
}

struct Credential: Sendable, RowDecodable {
    let user: UserID
    let username: String
    let email: String
    let passwordHash: String

    init(row: inout Row) throws(DatabaseError) {
        user = try row.next()
        username = try row.next()
        email = try row.next()
        passwordHash = try row.next()
    }
}

/// A change of a profile: nil leaves as it is, and a picture of nil inside is taken away.
struct ProfileChange: Sendable {
    var displayName: String?
    var note: String?
    var fields: [(name: String, value: String)]?
    var avatar: StoredImage??
    var avatarDescription: String?
    var header: StoredImage??
    var headerDescription: String?
    var locked: Bool?
    var bot: Bool?
    var discoverable: Bool?
    var indexable: Bool?
    var hideCollections: Bool?
    var privacy: Visibility?
    var sensitive: Bool?
    var language: String?
}

// MARK: Repeated sign-ups

extension AccountStore {
    /// Also forgets what the bucket remembers from more than a week ago.
    func remember(_ repetition: SignUp.Repetition, _ user: UserID, _ session: SessionID) -> SQL {
        """
        WITH forgotten AS (
            DELETE FROM accounts.sign_up
            WHERE bucket = \(user.bucket) AND created_at < now() - interval '7 days'
        )
        INSERT INTO accounts.sign_up (bucket, key_hash, body_hash, user_id, session_id)
        VALUES (\(user.bucket), \(repetition.keyHash), \(repetition.bodyHash), \(user),
            \(session))
        """
    }

    func remembered(
        _ repetition: SignUp.Repetition,
        in bucket: BucketID
    ) async throws(DatabaseError) -> RememberedSignUp? {
        try await database.row(
            """
            SELECT body_hash, session_id FROM accounts.sign_up
            WHERE bucket = \(bucket) AND key_hash = \(repetition.keyHash)
            """,
            on: bucket
        )
    }
}

struct RememberedSignUp: Sendable, RowDecodable {
    let bodyHash: [UInt8]
    let session: SessionID

    init(row: inout Row) throws(DatabaseError) {
        bodyHash = try row.next()
        session = try row.next()
    }
}
