package import Coordination
package import Etcd
internal import JSON

/// The journal of moves in etcd: one value a move, written by the leader alone.
package struct MoveStore: Sendable {
    /// Finished moves that are kept for people to look at.
    package static let historyLimit = 512

    private let etcd: EtcdClient

    package init(etcd: EtcdClient) {
        self.etcd = etcd
    }

    /// All moves, in order of their names; throws ``JournalTrouble`` for one that this program cannot read.
    package func load(policy: MovePolicy) async throws -> [BucketMove] {
        var moves: [BucketMove] = []
        for entry in try await etcd.snapshot(prefix: CoordinatorKeys.moves).entries {
            do {
                let json = try JSONReader.parse(entry.value)
                moves.append(try BucketMove(journal: json, policy: policy))
            } catch {
                throw JournalTrouble("\(entry.key): \(error)")
            }
        }
        return moves.sorted { $0.spec.id < $1.spec.id }
    }

    /// Writes one move; throws ``NotLeading`` when the term is over.
    package func write(_ id: MoveID, _ bytes: [UInt8], in term: LeaderTerm) async throws {
        try await commit([.put(key(id), bytes)], in: term)
    }

    /// Forgets moves that are over.
    package func forget(_ ids: [MoveID], in term: LeaderTerm) async throws {
        let batch = ids.prefix(EtcdTransaction.operationLimit)
        guard !batch.isEmpty else { return }
        try await commit(batch.map { .delete(key($0)) }, in: term)
    }

    private func key(_ id: MoveID) -> String { CoordinatorKeys.moves + id.description }

    private func commit(
        _ operations: [EtcdTransaction.Operation],
        in term: LeaderTerm
    ) async throws {
        let transaction = EtcdTransaction(expecting: [term.expectation], operations)
        guard try await etcd.commit(transaction) != nil else { throw NotLeading() }
    }
}

/// Somebody else leads now: nothing more may be written.
package struct NotLeading: Error, CustomStringConvertible {
    package let description = "another coordinator leads"

    package init() {}
}

/// Why what lies in etcd cannot be worked with; the line says what to do where that is known.
package struct JournalTrouble: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
