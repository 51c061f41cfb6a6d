/// What of a rendered page decides whether it may be served.
package struct PageFacts: Sendable, Equatable {
    package struct Reference: Sendable, Equatable {
        package var post: Int64
        package var author: Int64

        package init(post: Int64, author: Int64) {
            self.post = post
            self.author = author
        }
    }

    /// Nil for whoever is not logged in.
    package var viewer: Int64?
    package var posts: [Reference]
    /// Authors whose posts were merged: the page is out of date when one of them publishes.
    package var merged: [Int64]
    package var position: WithdrawnLog.Position

    package init(
        viewer: Int64?,
        posts: [Reference],
        merged: [Int64] = [],
        position: WithdrawnLog.Position
    ) {
        self.viewer = viewer
        self.posts = posts
        self.merged = merged
        self.position = position
    }
}

/// The same wherever it lies: by itself, or in the bytes of a page.
package protocol PageEvidence {
    var viewer: Int64? { get }
    /// A hash of the names of the shards that were known when the page was begun.
    var shardsHash: UInt64 { get }
    var shardCount: Int { get }
    /// How far a shard's log had been read by then.
    func transaction(on shard: Int) -> Int64
    var postCount: Int { get }
    func post(at index: Int) -> PageFacts.Reference
    var mergedCount: Int { get }
    func merged(at index: Int) -> Int64
}

extension PageFacts: PageEvidence {
    package var shardsHash: UInt64 { position.shards }
    package var shardCount: Int { position.transactions.count }
    package func transaction(on shard: Int) -> Int64 { position.transactions[shard] }
    package var postCount: Int { posts.count }
    package func post(at index: Int) -> Reference { posts[index] }
    package var mergedCount: Int { merged.count }
    package func merged(at index: Int) -> Int64 { merged[index] }
}
