package import Sharding

/// What a shard's fence said when it refused a write: the DETAIL of SQLSTATE `TF001`.
package struct Refusal: Equatable, Sendable {
    package let bucket: BucketID
    /// Nil where the shard has no row at all.
    package let state: OwnerState?
    /// The epoch of the row that refused.
    package let epoch: Epoch?
    /// Who to ask instead; the refusing shard itself when only the epoch was wrong.
    package let next: ShardID?

    /// Reads `bucket=B state=S epoch=E next=SHARD`, in which `-` stands for unknown.
    package init?(detail: String) {
        var parts: [Substring: Substring] = [:]
        for word in detail.split(separator: " ") {
            let sides = word.split(separator: "=", maxSplits: 1)
            if sides.count == 2, sides[1] != "-" { parts[sides[0]] = sides[1] }
        }
        guard let bucket = parts["bucket"].flatMap({ Int($0) }).flatMap({ BucketID(rawValue: $0) })
        else { return nil }
        self.bucket = bucket
        state = parts["state"].flatMap { OwnerState(rawValue: String($0)) }
        epoch = parts["epoch"].flatMap { Int64($0) }.map { Epoch(rawValue: $0) }
        next = parts["next"].flatMap { ShardID(String($0)) }
    }

    /// The same from an owner row that was looked at.
    init(_ bucket: BucketID, _ owner: OwnerTable.Owner) {
        self.bucket = bucket
        state = owner.state
        epoch = owner.epoch
        next = owner.next
    }

    /// The DETAIL again, for an error that names the bucket.
    var detail: String {
        """
        bucket=\(bucket) state=\(state?.rawValue ?? "-") epoch=\(epoch?.description ?? "-") \
        next=\(next?.name ?? "-")
        """
    }
}
