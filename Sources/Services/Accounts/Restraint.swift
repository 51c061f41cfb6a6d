package import Contracts
internal import ServiceKit
internal import Sharding

/// What moderators may do about an account; each can be taken back.
package enum Restraint: Sendable, CaseIterable {
    case none
    /// Shown to its followers only where strangers are shown.
    case limited
    /// Not there for anybody; it is logged out everywhere.
    case suspended
}

extension AccountsService {
    /// Puts an account under a restraint, or under none, on behalf of somebody who may.
    ///
    /// Whoever may not, and an account that is not there, are answered as not found. A suspended account has left all
    /// rendered pages within the bound of the withdrawn log; taking it back shows everywhere after that log's memory.
    package func restrain(
        _ id: UserID,
        _ restraint: Restraint,
        by moderator: UserID
    ) async throws {
        guard id != moderator, try await parts.accounts.account(moderator)?.mayModerate == true
        else { throw ServiceError.notFound }
        let isSuspended = restraint == .suspended
        let sessions =
            isSuspended ? try await parts.sessionStore.sessions(of: id).map(\.id) : []
        let changed = try await parts.accounts.restrain(
            id,
            isSuspended ? .suspended : .active,
            limited: restraint == .limited,
            alongside: isSuspended ? [parts.sessionStore.endingAll(of: id, except: nil)] : []
        )
        guard changed else { throw ServiceError.notFound }
        await parts.sessions.forget(sessions)
        await parts.directory.forget(id)
    }
}

extension Account {
    var mayModerate: Bool { role == .administrator && state == .active }
}
