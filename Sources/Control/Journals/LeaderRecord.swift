internal import JSON

/// What the leading coordinator says of itself under its key.
package struct LeaderRecord: Sendable, Equatable {
    package let name: String

    /// The ``JournalFormat`` that it writes.
    package let format: Int

    /// The lease under which it leads.
    package let lease: Int64

    /// Unix seconds at which it began to lead, by its own clock; for people.
    package let since: Int64

    package init(name: String, format: Int = JournalFormat.known, lease: Int64, since: Int64) {
        self.name = name
        self.format = format
        self.lease = lease
        self.since = since
    }

    package init?(_ bytes: [UInt8]) {
        // Not JSON, so not a record of ours; the caller says so.
        guard let json = try? JSONReader.parse(bytes), let name = json["name"]?.string,
            let format = json["format"]?.int, let lease = json["lease"]?.string,
            let lease = Int64(lease), let since = json["since"]?.int64
        else { return nil }
        self.init(name: name, format: format, lease: lease, since: since)
    }

    package var bytes: [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.field("name", name)
            json.field("format", format)
            json.field("lease", String(lease))
            json.field("since", since)
        }
        return json.bytes
    }
}
