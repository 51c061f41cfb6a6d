package import Contracts
package import Database
package import EventLoops
package import Jobs
package import Memcache
package import ServiceKit

/// Who somebody is: sign-up, applications and OAuth, sessions, and what people say about themselves.
///
/// Made once per loop, from parts of that loop and the ``AccountsSecurity`` of the process. Start reading at the
/// routes: `SignUpRoutes`, `ApplicationRoutes`, `AuthorizeRoutes`, `TokenRoutes`, `ProfileRoutes`,
/// `SettingsRoutes`.
package struct AccountsService: Service {
    package static let schema = SchemaRequirement(module: "Accounts", number: 3)

    /// The accounts, for the other services.
    package let directory: AccountDirectory

    /// Whose a token is, for the gate in front of every handler.
    package let sessions: SessionDirectory

    let parts: AccountsParts

    package init(
        loop: EventLoop,
        database: Database,
        cache: any CacheClient,
        images: any ImageStore,
        graph: any GraphClient,
        recent: (any RecentWithdrawals)?,
        security: AccountsSecurity,
        settings: AccountsSettings,
        publicURL: String
    ) {
        directory = AccountDirectory(
            database: database,
            cache: cache,
            settings: settings,
            graph: graph,
            recent: recent,
            publicURL: publicURL
        )
        sessions = SessionDirectory(
            loop: loop,
            keys: security.keys,
            database: database,
            cache: cache
        )
        parts = AccountsParts(
            database: database,
            accounts: AccountStore(database: database),
            names: NameStore(database: database, grace: settings.claimGrace),
            sessionStore: SessionStore(database: database),
            applications: ApplicationStore(database: database),
            directory: directory,
            sessions: sessions,
            images: images,
            security: security,
            settings: settings,
            tokens: AccessTokens(keys: security.keys),
            publicURL: publicURL,
            shared: SharedThrottle(
                cache: cache,
                account: security.throttle.accountLimits,
                address: security.throttle.addressLimits
            )
        )
    }

    package var endpoints: [Endpoint] {
        SignUpRoutes(parts: parts).endpoints + ApplicationRoutes(parts: parts).endpoints
            + AuthorizeRoutes(parts: parts).endpoints + TokenRoutes(parts: parts).endpoints
            + ProfileRoutes(parts: parts).endpoints + SearchRoutes(parts: parts).endpoints
            + SettingsRoutes(parts: parts).endpoints + DefaultPicture.endpoints
    }

    /// What workers do for this service.
    package static func effects(
        database: Database,
        settings: AccountsSettings = AccountsSettings()
    ) -> [any EffectHandler] {
        let names = NameStore(database: database, grace: settings.claimGrace)
        return [SettleClaim(names: names), ConfirmClaims(names: names), LeaveName(names: names)]
    }
}

/// What the routes of this service are made of.
struct AccountsParts: Sendable {
    let database: Database
    let accounts: AccountStore
    let names: NameStore
    let sessionStore: SessionStore
    let applications: ApplicationStore
    let directory: AccountDirectory
    let sessions: SessionDirectory
    let images: any ImageStore
    let security: AccountsSecurity
    let settings: AccountsSettings
    let tokens: AccessTokens
    let publicURL: String
    let shared: SharedThrottle

    var signUp: SignUp {
        SignUp(
            database: database,
            accounts: accounts,
            names: names,
            sessions: sessionStore,
            security: security,
            settings: settings
        )
    }

    var logIn: LogIn {
        LogIn(accounts: accounts, names: names, security: security, shared: shared)
    }

    /// The user's own account, with what nobody else sees of it.
    func credentials(of id: UserID) async throws -> CredentialAccountEntity {
        async let requests = accounts.followRequests(to: id)
        guard let account = try await accounts.account(id) else { throw ServiceError.unauthorized }
        return account.credentialEntity(
            publicURL: publicURL,
            followRequests: try await requests
        )
    }

    /// One account as its shard has it now, if it is there for the viewer.
    func account(_ id: UserID, viewer: UserID?) async throws -> AccountEntity {
        async let rules = directory.sight.rules(of: viewer, about: [id])
        let found = try await accounts.account(id)?.entity(publicURL: publicURL)
        guard let account = try await found?.seen(by: rules) else { throw ServiceError.notFound }
        return account
    }

    func tokenEntity(of session: Session) -> TokenEntity {
        TokenEntity(
            accessToken: tokens.text(of: session.token),
            scopes: session.scopes,
            createdAt: session.createdAt
        )
    }
}
