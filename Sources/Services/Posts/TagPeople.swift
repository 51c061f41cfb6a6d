import Contracts
import ServiceKit
import Sharding

extension PostDirectory {
    /// Refuses people whom the author may not name: who does not exist, and with whom a block stands.
    func checkPeople(_ people: [TaggedPerson], by author: UserID) async throws {
        let others = people.map(\.user).filter { $0 != author }.sorted()
        guard !others.isEmpty else { return }
        async let known = accounts.accounts(others)
        async let standing = graph.standing(of: author, to: others)
        let (accounts, blocked) = try await (known, standing.blocked)
        guard others.allSatisfy({ accounts[$0] != nil && !blocked.contains($0) }) else {
            throw ServiceError.invalid("Somebody of these people cannot be on the post")
        }
    }
}
