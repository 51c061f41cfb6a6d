import Administration
import ArgumentParser
import Coordination
import Etcd
import Journals
import Settings
import Sharding

/// Why a command ended without doing what it was asked, by the kind that its exit status tells.
struct Failure: Error {
    enum Kind: String {
        case unhealthy, usage, refused, unavailable, `internal`, conflict, denied

        var exitCode: Int32 {
            switch self {
            case .unhealthy: 1
            case .usage: 64
            case .refused: 65
            case .unavailable: 69
            case .internal: 70
            case .conflict: 73
            case .denied: 77
            }
        }
    }

    let kind: Kind
    let message: String

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    init(_ error: any Error) {
        switch error {
        case let failure as Failure: self = failure
        case let error as AdminError: self.init(Self.kind(of: error), error.description)
        case let error as MigrationError: self.init(.refused, error.description)
        case let error as MapConflict: self.init(.conflict, error.description)
        case let error as ShardMapError: self.init(.refused, error.description)
        case let error as SettingsError: self.init(.usage, error.description)
        case let error as JournalTrouble: self.init(.conflict, error.description)
        case let error as PlanError: self.init(.refused, error.description)
        case let failure as MoveFailure:
            self.init(failure.kind == .transient ? .unavailable : .refused, failure.message)
        case let error as EtcdError: self.init(Self.kind(of: error), error.description)
        default: self.init(.internal, "\(error)")
        }
    }

    private static func kind(of error: AdminError) -> Kind {
        switch error.kind {
        case .unreachable: .unavailable
        case .denied: .denied
        case .statement: .internal
        }
    }

    private static func kind(of error: EtcdError) -> Kind {
        switch error {
        case .unavailable, .outcomeUnknown: .unavailable
        case .denied: .denied
        default: .internal
        }
    }

    /// The same failure, with the shard that it is about in front.
    func at(_ shard: ShardID) -> Failure { Failure(kind, "\(shard): \(message)") }
}

/// Runs `body`, and names the shard in whatever it throws.
func naming<T>(_ shard: ShardID, _ body: () throws -> T) throws -> T {
    do {
        return try body()
    } catch {
        throw Failure(error).at(shard)
    }
}
