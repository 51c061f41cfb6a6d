package import Contracts
package import Database
internal import JSON
package import Memcache
internal import Postgres

/// The accounts of all users, as others see them: one look at the cache for many, one query a shard for what is missing.
package final class AccountDirectory: AccountsClient, @unchecked Sendable {
    // @unchecked: holds loop-bound parts and is used on their loop only.

    /// How long counts may lag; a changed profile is dropped at once.
    private static let lifetime = Duration.seconds(10)

    /// How many accounts one call may ask for.
    package static let batchLimit = 1_000

    private let store: AccountStore
    private let names: NameStore
    private let cache: any CacheClient
    private let publicURL: String
    private let graph: any GraphClient
    private let recent: (any RecentWithdrawals)?
    private let decoded: DecodedValues<AccountEntity>

    package init(
        database: Database,
        cache: any CacheClient,
        settings: AccountsSettings,
        graph: any GraphClient,
        recent: (any RecentWithdrawals)?,
        publicURL: String
    ) {
        store = AccountStore(database: database)
        names = NameStore(database: database, grace: settings.claimGrace)
        self.cache = cache
        self.graph = graph
        self.recent = recent
        self.publicURL = publicURL
        decoded = DecodedValues { Self.read($0)?.entity(publicURL: publicURL) }
    }

    /// Accounts as a viewer may see them.
    var sight: AccountSight { AccountSight(accounts: self, graph: graph, recent: recent) }

    private static func key(_ id: UserID) -> CacheKey { CacheKey(.object, "account:\(id)") }

    // MARK: By id

    package func accounts(_ ids: [UserID]) async throws -> [UserID: AccountEntity] {
        precondition(ids.count <= Self.batchLimit, "too many accounts at once")
        let ids = Array(Set(ids))
        guard !ids.isEmpty else { return [:] }
        let accounts = try await cachedAccounts(ids)
        return accounts.mapValues { $0.entity(publicURL: publicURL) }
    }

    private func cachedAccounts(_ ids: [UserID]) async throws -> [UserID: Account] {
        let idsOfKeys = Dictionary(uniqueKeysWithValues: ids.map { (Self.key($0), $0) })
        var found: [UserID: Account] = [:]
        let cached = try await cache.fill(ids.map(Self.key), ttl: Self.lifetime) { missing in
            var values: [CacheKey: [UInt8]] = [:]
            for account in try await store.accounts(missing.compactMap { idsOfKeys[$0] }) {
                found[account.id] = account
                values[Self.key(account.id)] = account.jsonBytes
            }
            return values
        }
        var unread: [UserID] = []
        for (key, bytes) in cached {
            guard let id = idsOfKeys[key], found[id] == nil else { continue }
            if let account = Self.read(bytes) { found[id] = account } else { unread.append(id) }
        }
        guard !unread.isEmpty else { return found }
        for account in try await store.accounts(unread) { found[account.id] = account }
        return found
    }

    package func fragmentName(of id: UserID) -> String { Self.key(id).name }

    package var fragmentLifetime: Duration { Self.lifetime }

    package func fragments(of ids: [UserID]) async throws -> [UserID: [UInt8]] {
        guard !ids.isEmpty else { return [:] }
        let accounts = try await store.accounts(ids)
        return Dictionary(accounts.map { ($0.id, $0.jsonBytes) }) { first, _ in first }
    }

    package func account(fragment: [UInt8]) -> AccountEntity? {
        decoded.value(of: fragment)
    }

    private static func read(_ bytes: [UInt8]) -> Account? {
        // What cannot be read was put there by another version: a miss.
        (try? JSONReader.parse(bytes)).flatMap { Account($0) }
    }

    /// The user whom a text names: `user`, `@user`, `user@host` of this host, or the address of a page.
    func find(address text: String) async throws -> UserID? {
        guard let address = AccountAddress(text, publicURL: publicURL) else { return nil }
        if let id = address.id { return try await accounts([id])[id]?.id }
        return try await find(usernames: [address.username]).values.first
    }

    /// Drops what the cache holds of an account; called before its change is answered.
    func forget(_ id: UserID) async {
        _ = await cache.delete([Self.key(id)])
    }

    /// How many accounts there are, as the shards' statistics have it.
    package func estimatedCount() async throws -> Int { try await store.estimatedCount() }

    // MARK: By name

    package func find(usernames: [String]) async throws -> [String: UserID] {
        var asked: [ClaimedName: [String]] = [:]
        for text in usernames {
            // What cannot be a name is nobody's.
            guard let name = try? Username(reading: text) else { continue }
            asked[ClaimedName(name), default: []].append(text)
        }
        guard !asked.isEmpty else { return [:] }
        let claimed = try await names.users(of: Array(asked.keys))
        let accounts = try await self.accounts(Array(Set(claimed.values)))
        var found: [String: UserID] = [:]
        for (name, texts) in asked {
            // A claim alone is no account: the sign-up may not have committed, or the name was left.
            guard let id = claimed[name], let account = accounts[id],
                (try? Username(reading: account.username))?.folded == name.text
            else { continue }
            for text in texts { found[text] = id }
        }
        return found
    }

    package func search(
        _ query: String,
        limit: Int,
        viewer: UserID?
    ) async throws -> [AccountEntity] {
        if let id = AccountAddress(query, publicURL: publicURL)?.id {
            let found = limit > 0 ? try await sight.account(id, viewer: viewer) : nil
            return found.map { [$0] } ?? []
        }
        guard limit > 0, let text = AccountAddress(query, publicURL: publicURL)?.username,
            let name = try? Username(reading: text)
        else {
            // What cannot be a name, or the beginning of one, matches none.
            return []
        }
        var found: [AccountEntity] = []
        if let exact = try await find(usernames: [name.folded]).values.first,
            let account = try await sight.account(exact, viewer: viewer)
        {
            found.append(account)
        }
        guard found.count < limit else { return found }
        let beginning = try await store.accountsOnEveryShard(
            beginningWith: name.folded,
            limit: limit
        ).map { $0.entity(publicURL: publicURL) }
        let rules = try await sight.rules(of: viewer, about: beginning.map(\.id))
        for account in beginning where found.count < limit && account.id != found.first?.id {
            guard rules.allowDiscovery(of: account.id, account.state) else { continue }
            found.append(account.concealed(by: rules))
        }
        return found
    }
}
