package import Coordination
package import Etcd
package import JSON
internal import Sharding

/// What a running move last told of itself, for people who watch it.
package struct MoveProgress: Sendable, Equatable {
    /// The piece of work that is under way, such as `copy`; empty while it waits.
    package var work = ""
    package var rows: Int64 = 0
    package var bytes: Int64 = 0
    package var totalRows: Int64 = 0
    package var totalBytes: Int64 = 0
    package var bytesPerSecond: Int64 = 0
    package var lagBytes: Int64?

    /// From the fence to the activation, in milliseconds, of the last attempt that succeeded.
    package var pauseMilliseconds: Double?

    /// Unix seconds at which the coordinator took the move up.
    package var since: Int64 = 0

    package init() {}
}

extension MoveProgress: JSONEncodable {
    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("work", work)
            json.field("rows", rows)
            json.field("bytes", bytes)
            json.field("totalRows", totalRows)
            json.field("totalBytes", totalBytes)
            json.field("bytesPerSecond", bytesPerSecond)
            json.field("lagBytes", lagBytes)
            json.field("pauseMilliseconds", pauseMilliseconds)
            json.field("since", since)
        }
    }

    package init(json: JSONValue) {
        work = json["work"]?.string ?? ""
        rows = json["rows"]?.int64 ?? 0
        bytes = json["bytes"]?.int64 ?? 0
        totalRows = json["totalRows"]?.int64 ?? 0
        totalBytes = json["totalBytes"]?.int64 ?? 0
        bytesPerSecond = json["bytesPerSecond"]?.int64 ?? 0
        lagBytes = json["lagBytes"]?.int64
        pauseMilliseconds = json["pauseMilliseconds"]?.double
        since = json["since"]?.int64 ?? 0
    }
}

/// The progress of running moves in etcd; it lives as long as the leader's lease, and nothing depends on it.
package struct ProgressStore: Sendable {
    private let etcd: EtcdClient

    package init(etcd: EtcdClient) {
        self.etcd = etcd
    }

    package func load() async throws -> [MoveID: MoveProgress] {
        var all: [MoveID: MoveProgress] = [:]
        for entry in try await etcd.snapshot(prefix: CoordinatorKeys.progress).entries {
            let name = String(entry.key.dropFirst(CoordinatorKeys.progress.count))
            // A value that cannot be read is of another version, and only a number less on a screen.
            guard let id = MoveID(name), let json = try? JSONReader.parse(entry.value) else {
                continue
            }
            all[id] = MoveProgress(json: json)
        }
        return all
    }

    package func write(_ progress: MoveProgress, of id: MoveID, in term: LeaderTerm) async throws {
        try await etcd.put(
            CoordinatorKeys.progress + id.description,
            progress.jsonBytes,
            lease: term.lease
        )
    }

    package func remove(_ id: MoveID) async throws {
        try await etcd.delete(CoordinatorKeys.progress + id.description)
    }
}
