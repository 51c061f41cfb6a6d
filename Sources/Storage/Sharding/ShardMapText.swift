// The stored form of a map: lines of words, the same in etcd and on a node's disk, readable by an operator.
//
//     tessera-map 1
//     generation 7
//     cluster 0c9d…
//     shard s1 tessera local 1 127.0.0.1:15201/primary/local
//     buckets s1 1 local open 0-255,300
//     end 5f1d0c…

extension ShardMap {
    /// The version of the stored form that this program writes; it refuses any other.
    package static let textVersion = 1

    /// A stored map is never larger; a longer text is refused unread.
    package static let textLimit = 1 << 20

    /// The stored form; equal maps have equal texts.
    package var text: String {
        var lines = ["generation \(generation)"]
        if let cluster { lines.append("cluster \(cluster.text)") }
        lines += shards.map(\.line)
        var groups: [Entry: [Int]] = [:]
        for (bucket, entry) in entries.enumerated() { groups[entry, default: []].append(bucket) }
        for (entry, buckets) in groups.sorted(by: { $0.value[0] < $1.value[0] }) {
            let state = entry.closed ? "closed" : "open"
            lines.append(
                "buckets \(entry.shard) \(entry.epoch) \(entry.region) \(state) \(rangesText(buckets))"
            )
        }
        return SealedText.seal(lines, as: Self.form)
    }

    private static let form = "tessera-map \(textVersion)"

    /// Reads the stored form; a torn or altered text is refused by its last line.
    package init(text: String) throws(ShardMapError) {
        let sealed: SealedText
        do {
            sealed = try SealedText(text, form: Self.form, limit: Self.textLimit)
        } catch {
            throw ShardMapError(error.description)
        }
        var parser = Parser()
        for line in sealed.lines { try parser.read(line) }
        try self.init(
            generation: parser.generation,
            entries: parser.allEntries(),
            shards: parser.shards,
            cluster: parser.cluster
        )
    }

    private struct Parser {
        var generation: Int64 = 0
        var cluster: ClusterID?
        var shards: [ShardRecord] = []
        var entries = [Entry?](repeating: nil, count: BucketID.count)

        mutating func read(_ line: Substring) throws(ShardMapError) {
            let words = line.split(separator: " ", omittingEmptySubsequences: false)
            switch (words.first, words.count) {
            case ("generation", 2): generation = try parsedNumber(words[1])
            case ("cluster", 2):
                guard let id = ClusterID(words[1]) else {
                    throw ShardMapError("'\(words[1].prefix(40))' is not a cluster's name")
                }
                cluster = id
            case ("shard", _): shards.append(try ShardRecord(line: String(line)))
            case ("buckets", 6): try readBuckets(words)
            default: throw ShardMapError("cannot read the line '\(line.prefix(80))'")
            }
        }

        func allEntries() throws(ShardMapError) -> [Entry] {
            var all: [Entry] = []
            for entry in entries {
                guard let entry else { throw ShardMapError("bucket \(all.count) has no entry") }
                all.append(entry)
            }
            return all
        }

        private mutating func readBuckets(_ words: [Substring]) throws(ShardMapError) {
            guard words[4] == "open" || words[4] == "closed" else {
                throw ShardMapError("'\(words[4])' is neither open nor closed")
            }
            let entry = Entry(
                shard: try parsedShardID(words[1]),
                epoch: Epoch(rawValue: try parsedNumber(words[2])),
                region: try parsedRegion(words[3]),
                closed: words[4] == "closed"
            )
            guard let buckets = parsedRanges(words[5], below: BucketID.count) else {
                throw ShardMapError("'\(words[5].prefix(80))' are not ranges of buckets")
            }
            for bucket in buckets {
                guard entries[bucket] == nil else {
                    throw ShardMapError("bucket \(bucket) has two entries")
                }
                entries[bucket] = entry
            }
        }
    }
}

extension ShardRecord {
    /// The record as a line of the stored map: `shard s1 tessera local 1 127.0.0.1:15201/primary/local`.
    package var line: String {
        "shard \(id) \(database) \(region) \(weight) \(members.map(\.text).joined(separator: ","))"
    }

    /// Reads what ``line`` writes.
    package init(line: String) throws(ShardMapError) {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 6, words[0] == "shard" else {
            throw ShardMapError("cannot read the line '\(line.prefix(80))'")
        }
        let weight: Int = try parsedNumber(words[4])
        guard weight >= 0 else { throw ShardMapError("the weight \(weight) is negative") }
        var members: [Member] = []
        for text in words[5].split(separator: ",") {
            guard let member = Member(text: text) else {
                throw ShardMapError("'\(text)' is not a member")
            }
            members.append(member)
        }
        guard !members.isEmpty else { throw ShardMapError("a shard without members") }
        self.init(
            id: try parsedShardID(words[1]),
            members: members,
            database: String(words[2]),
            region: try parsedRegion(words[3]),
            weight: weight
        )
    }
}

extension ShardRecord.Member {
    /// `host:port/role/region`.
    var text: String { "\(host):\(port)/\(role.rawValue)/\(region)" }

    init?(text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, let colon = parts[0].lastIndex(of: ":"),
            let port = Int(parts[0][parts[0].index(after: colon)...]),
            (1...65_535).contains(port), colon > parts[0].startIndex,
            let role = Role(rawValue: String(parts[1])), let region = Region(String(parts[2]))
        else { return nil }
        self.init(host: String(parts[0][..<colon]), port: port, role: role, region: region)
    }
}

private func parsedNumber<N: FixedWidthInteger>(_ word: Substring) throws(ShardMapError) -> N {
    guard let number = N(word) else { throw ShardMapError("'\(word)' is not a number") }
    return number
}

private func parsedShardID(_ word: Substring) throws(ShardMapError) -> ShardID {
    guard let id = ShardID(String(word)) else {
        throw ShardMapError("'\(word)' is not a shard's name")
    }
    return id
}

private func parsedRegion(_ word: Substring) throws(ShardMapError) -> Region {
    guard let region = Region(String(word)) else {
        throw ShardMapError("'\(word)' is not a region's name")
    }
    return region
}
