import Contracts
import JSON
import Jobs
import Normalizing
import Sharding

/// What public posts are gathered by: a name in the bucket of its hash.
struct Topic: Sendable, Hashable, Routed {
    enum Kind: Int16, Sendable {
        case tag = 1
        case place = 2
        /// Somebody on the photos, named by id.
        case person = 3
    }

    let kind: Kind
    /// After NFKC, without case: equal names are equal texts.
    let name: String

    private init(kind: Kind, name: String) {
        self.kind = kind
        self.name = name
    }

    /// A hashtag, with or without its `#`; nil for what can be none in a post either.
    init?(tag text: some StringProtocol) {
        let bare = text.hasPrefix("#") ? String(text.dropFirst()) : String(text)
        let rich = RichText("#" + bare)
        guard rich.pieces == [.hashtag(bare)], let folded = NameFolding.folded(bare),
            !folded.isEmpty
        else { return nil }
        self.init(kind: .tag, name: folded)
    }

    /// A place, as people write its name.
    init?(place text: String) {
        guard let folded = NameFolding.folded(text), !folded.isEmpty,
            !folded.utf8.contains(0)
        else { return nil }
        self.init(kind: .place, name: folded)
    }

    init(person: UserID) {
        self.init(kind: .person, name: person.description)
    }

    var bucket: BucketID {
        guard kind == .person, let user = UserID(name) else { return .of(name: name) }
        return user.bucket
    }

    /// How many hashtags of one post are gathered; a text may carry more.
    static let tagLimit = 30

    /// What a post is gathered by: people in any case, the rest where it is for everybody.
    static func all(of post: Post) -> [Topic] {
        guard post.reblogOf == nil, !post.isHeld else { return [] }
        let people = post.people.map { Topic(person: $0.user) }
        guard post.visibility == .public else { return people }
        let tags = RichText(post.text).hashtags.prefix(tagLimit).compactMap { Topic(tag: $0) }
        return people + tags
            + [post.details.place.flatMap { Topic(place: $0.name) }].compactMap(\.self)
    }

    /// An effect for each topic of the post, and of the same post as it was before.
    static func effects(of post: Post, before old: Post? = nil, trace: String?) -> [Effect] {
        var seen: Set<Topic> = []
        let topics = all(of: post) + (old.map(all) ?? [])
        return topics.filter { seen.insert($0).inserted }.map { topic in
            Effect(
                EffectKinds.postsTopic,
                owner: post.id,
                payload: TopicEffect(topic: topic, post: post.id),
                traceparent: trace
            )
        }
    }
}

/// Payload of `posts.topic`: whether the post is about it is read from the post.
struct TopicEffect: Sendable, Equatable, JSONEncodable {
    var topic: Topic
    var post: PostID

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("kind", Int(topic.kind.rawValue))
            json.field("name", topic.name)
            json.field("post", post.description)
        }
    }
}

extension TopicEffect {
    init?(_ json: JSONValue) {
        guard let kind = json["kind"]?.int, let name = json["name"]?.string,
            let topic = Topic(kind: kind, name: name),
            let post = json["post"]?.string.flatMap({ PostID($0) })
        else { return nil }
        self.init(topic: topic, post: post)
    }
}

extension Topic {
    /// As an effect has it, folded.
    init?(kind: Int, name: String) {
        guard let kind = Int16(exactly: kind).flatMap(Kind.init(rawValue:)) else { return nil }
        self.init(kind: kind, name: name)
    }
}
