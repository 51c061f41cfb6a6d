/// The name of a shard, such as `s1`.
package struct ShardID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let name: String

    /// Takes 1 to 32 of `a-z`, `0-9` and `-`, starting with a letter.
    package init?(_ name: String) {
        guard isPlainName(name) else { return nil }
        self.name = name
    }

    package var description: String { name }

    package static func < (a: ShardID, b: ShardID) -> Bool { a.name < b.name }
}

/// A part of the world that keeps its users' buckets on its own shards.
package struct Region: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let name: String

    package init?(_ name: String) {
        guard isPlainName(name) else { return nil }
        self.name = name
    }

    /// Where everything is until there is a second region.
    package static let local = Region(trusted: "local")

    private init(trusted name: String) { self.name = name }

    package var description: String { name }

    package static func < (a: Region, b: Region) -> Bool { a.name < b.name }
}

/// Counts the owners that a bucket has had; only grows.
package struct Epoch: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: Int64

    package init(rawValue: Int64) { self.rawValue = rawValue }

    package static let first = Epoch(rawValue: 1)

    package var next: Epoch { Epoch(rawValue: rawValue + 1) }

    package var description: String { String(rawValue) }

    package static func < (a: Epoch, b: Epoch) -> Bool { a.rawValue < b.rawValue }
}

/// One shard as the map knows it: where it is, and how much it should carry.
package struct ShardRecord: Hashable, Sendable {
    /// A PostgreSQL server that is, or may become, the shard's primary.
    package struct Member: Hashable, Sendable {
        package enum Role: String, Sendable, CaseIterable { case primary, standby }

        package var host: String
        package var port: Int
        package var role: Role
        package var region: Region

        /// `host` is a name or an address; an IPv6 address stands without brackets.
        package init(host: String, port: Int, role: Role = .primary, region: Region = .local) {
            self.host = host
            self.port = port
            self.role = role
            self.region = region
        }
    }

    package var id: ShardID
    package var members: [Member]
    package var database: String
    package var region: Region

    /// Share of the buckets, relative to the other shards'; 0 takes none.
    package var weight: Int

    package init(
        id: ShardID,
        members: [Member],
        database: String = "tessera",
        region: Region = .local,
        weight: Int = 1
    ) {
        precondition(weight >= 0, "a weight is never negative")
        self.id = id
        self.members = members
        self.database = database
        self.region = region
        self.weight = weight
    }
}

/// Which shard owns each bucket, at one generation.
///
/// A hint, never an authority: a shard's own owner rows decide what it accepts, and a reader of an old map
/// is refused and told the next owner.
package struct ShardMap: Hashable, Sendable {
    package struct Entry: Hashable, Sendable {
        package var shard: ShardID
        package var epoch: Epoch
        package var region: Region

        /// Takes no new users; set for the bucket of one very large account.
        package var closed: Bool

        package init(
            shard: ShardID,
            epoch: Epoch = .first,
            region: Region = .local,
            closed: Bool = false
        ) {
            self.shard = shard
            self.epoch = epoch
            self.region = region
            self.closed = closed
        }
    }

    /// Grows by one with every change of the map.
    package var generation: Int64
    package private(set) var entries: [Entry]

    /// In order of their ids.
    package private(set) var shards: [ShardRecord]

    /// Whose map it is; nil in one of before clusters had names.
    package var cluster: ClusterID?

    /// Every bucket has an entry, and every entry's shard has a record.
    package init(
        generation: Int64,
        entries: [Entry],
        shards: [ShardRecord],
        cluster: ClusterID? = nil
    ) throws(ShardMapError) {
        guard generation > 0 else {
            throw ShardMapError("generation \(generation) is not positive")
        }
        guard entries.count == BucketID.count else {
            throw ShardMapError("\(entries.count) entries instead of \(BucketID.count)")
        }
        let shards = shards.sorted { $0.id < $1.id }
        let known = Set(shards.map(\.id))
        guard known.count == shards.count else { throw ShardMapError("a shard is listed twice") }
        if let stray = entries.first(where: { !known.contains($0.shard) }) {
            throw ShardMapError("a bucket is on shard \(stray.shard), which has no record")
        }
        self.generation = generation
        self.entries = entries
        self.shards = shards
        self.cluster = cluster
    }

    /// Whether the other map may be of the same cluster.
    package func isOfSameCluster(as other: ShardMap) -> Bool {
        cluster == nil || other.cluster == nil || cluster == other.cluster
    }

    package subscript(bucket: BucketID) -> Entry {
        get { entries[Int(bucket.rawValue)] }
        set {
            precondition(shard(newValue.shard) != nil, "no record of shard \(newValue.shard)")
            entries[Int(bucket.rawValue)] = newValue
        }
    }

    package func shard(_ id: ShardID) -> ShardRecord? { shards.first { $0.id == id } }

    /// Adds a shard's record, or replaces the record of the same id.
    package mutating func put(_ shard: ShardRecord) {
        shards.removeAll { $0.id == shard.id }
        let place = shards.firstIndex { $0.id > shard.id } ?? shards.endIndex
        shards.insert(shard, at: place)
    }

    /// Takes a shard's record out; it must have no buckets.
    package mutating func remove(_ id: ShardID) {
        precondition(!entries.contains { $0.shard == id }, "\(id) still has buckets")
        shards.removeAll { $0.id == id }
    }

    /// The buckets that the map puts on `shard`, in order.
    package func buckets(of shard: ShardID) -> [BucketID] {
        BucketID.all.filter { self[$0].shard == shard }
    }

    /// The buckets of `region` that take new users; made once per map by whoever draws often.
    package func openBuckets(in region: Region) -> OpenBuckets {
        let open = entries.indices.filter { !entries[$0].closed && entries[$0].region == region }
        return OpenBuckets(buckets: open.map { BucketID.all[$0] })
    }
}

/// The buckets of one region that take new users.
package struct OpenBuckets: Sendable {
    package let buckets: [BucketID]

    /// The bucket of a new user, fixed for their life: a hash of a random key over the open buckets of
    /// their home region; nil when that region has none.
    package func bucket(forNewUser key: some Sequence<UInt8>) -> BucketID? {
        guard !buckets.isEmpty else { return nil }
        return buckets[Int(SipHash.buckets.hash(key) % UInt64(buckets.count))]
    }
}

/// Why something is not a map.
package struct ShardMapError: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

private func isPlainName(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    guard (1...32).contains(bytes.count), (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(bytes[0])
    else { return false }
    return bytes.allSatisfy {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
    }
}
