package import Contracts
package import JSON
package import Sharding

/// Payload of `feed.deliver`: one post, and the followers whose feeds it goes into or out of.
package struct RangeEffect: Sendable, Equatable, JSONEncodable {
    package var post: PostReference
    package var range: FollowerRange
    /// Only followers in these buckets; nil for all. What is left when some shards did not answer.
    package var buckets: [BucketID]?
    /// Whether the post goes out of the feeds.
    package var removes: Bool
    /// Only followers whose edge has a lower id: those of an author who was delivered then and is merged now.
    package var before: Int64?

    package init(
        post: PostReference,
        range: FollowerRange = FollowerRange(),
        buckets: [BucketID]? = nil,
        removes: Bool = false,
        before: Int64? = nil
    ) {
        self.post = post
        self.range = range
        self.buckets = buckets
        self.removes = removes
        self.before = before
    }

    package init?(_ json: JSONValue) {
        guard let post = json["post"]?.string.flatMap({ PostID($0) }),
            let author = json["author"]?.string.flatMap({ UserID($0) }),
            let removes = json["removes"]?.bool
        else { return nil }
        self.init(
            post: PostReference(id: post, author: author),
            range: FollowerRange(
                from: json["from"]?.string.flatMap { UserID($0) },
                to: json["to"]?.string.flatMap { UserID($0) }
            ),
            buckets: json["buckets"]?.array?.compactMap {
                $0.int.flatMap { BucketID(rawValue: $0) }
            },
            removes: removes,
            before: json["before"]?.int64
        )
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("post", post.id.description)
            json.field("author", post.author.description)
            json.field("from", range.from?.description)
            json.field("to", range.to?.description)
            json.field("buckets", buckets?.map(\.rawValue))
            json.field("removes", removes)
            json.field("before", before)
        }
    }
}
