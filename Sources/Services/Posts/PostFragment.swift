import Contracts
import JSON
import Sharding

/// A post as everybody would see it, ready but for the author's account and the viewer's marks.
struct PostFragment: Sendable, JSONEncodable {
    var post: Post
    var counts: PostCounts
    var content: String
    var tags: [String]
    var attachments: [MediaAttachmentEntity]

    init(
        _ counted: CountedPost,
        attachments: [MediaAttachmentEntity],
        rendering: PostRendering
    ) {
        post = counted.post
        counts = counted.counts
        let text = RichText(post.text)
        content = rendering.html(text, mentions: post.mentions)
        tags = text.hashtags
        self.attachments = attachments
    }

    // MARK: In the cache

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", post.id.rawValue)
            json.field("author", post.author.rawValue)
            json.field("text", post.text)
            json.field("spoiler", post.spoilerText)
            json.field("sensitive", post.sensitive)
            json.field("language", post.language)
            json.field("visibility", post.visibility.rawValue)
            json.field("media", post.media.map(\.rawValue))
            json.field("mentions", post.mentions.map(\.user.rawValue))
            json.field("names", post.mentions.map(\.username))
            json.field("parent", post.inReplyTo?.rawValue)
            json.field("parent_author", post.inReplyToAuthor?.rawValue)
            json.field("reblog", post.reblogOf?.id.rawValue)
            json.field("reblog_author", post.reblogOf?.author.rawValue)
            json.field("root", post.root?.rawValue)
            json.field("root_author", post.rootAuthor?.rawValue)
            json.field("held", post.isHeld)
            json.field("hides_likes", post.hidesLikes)
            json.field("application", post.application?.name)
            json.field("website", post.application?.website)
            json.field("created", post.createdAt.microseconds)
            json.field("edited", post.editedAt?.microseconds)
            json.field("pinned", post.isPinned)
            json.field("likes", counts.favourites)
            json.field("replies", counts.replies)
            json.field("reblogs", counts.reblogs)
            json.field("details", post.details)
            json.field("untagged", post.untagged.map(\.rawValue))
            json.field("options", counts.options)
            json.field("voters", counts.voters)
            json.field("content", content)
            json.field("tags", tags)
            json.field("attachments", attachments)
        }
    }

    init?(_ json: JSONValue) {
        guard let fields = JSONMembers(json) else { return nil }
        guard let id = fields["id"]?.int64, let author = fields["author"]?.int64,
            let text = fields["text"]?.string, let spoiler = fields["spoiler"]?.string,
            let sensitive = fields["sensitive"]?.bool,
            let visibility = fields["visibility"]?.string.flatMap(Visibility.init(rawValue:)),
            let media = fields["media"]?.array?.compactMap(\.int64),
            let mentioned = fields["mentions"]?.array?.compactMap(\.int64),
            let names = fields["names"]?.array?.compactMap(\.string),
            let created = fields["created"]?.int64, let pinned = fields["pinned"]?.bool,
            let likes = fields["likes"]?.int, let replies = fields["replies"]?.int,
            let held = fields["held"]?.bool, let hidesLikes = fields["hides_likes"]?.bool,
            let reblogs = fields["reblogs"]?.int, let content = fields["content"]?.string,
            let tags = fields["tags"]?.array?.compactMap(\.string),
            let attachments = fields["attachments"]?.array?.compactMap(MediaAttachmentEntity.init)
        else { return nil }
        post = Post(
            id: PostID(rawValue: id),
            author: UserID(rawValue: author),
            text: text,
            spoilerText: spoiler,
            sensitive: sensitive,
            language: fields["language"]?.string,
            visibility: visibility,
            media: media.map { MediaID(rawValue: $0) },
            mentions: zip(mentioned, names).map {
                Post.Mention(user: UserID(rawValue: $0), username: $1)
            },
            inReplyTo: fields["parent"]?.int64.map { PostID(rawValue: $0) },
            inReplyToAuthor: fields["parent_author"]?.int64.map { UserID(rawValue: $0) },
            reblogOf: PostReference(
                id: fields["reblog"]?.int64.map { PostID(rawValue: $0) },
                author: fields["reblog_author"]?.int64.map { UserID(rawValue: $0) }
            ),
            root: fields["root"]?.int64.map { PostID(rawValue: $0) },
            rootAuthor: fields["root_author"]?.int64.map { UserID(rawValue: $0) },
            application: fields["application"]?.string.map {
                StatusEntity.Client(name: $0, website: fields["website"]?.string)
            },
            createdAt: Timestamp(microseconds: created),
            editedAt: fields["edited"]?.int64.map { Timestamp(microseconds: $0) },
            isPinned: pinned,
            isHeld: held,
            hidesLikes: hidesLikes
        )
        counts = PostCounts(favourites: likes, replies: replies, reblogs: reblogs)
        guard let details = fields["details"].flatMap({ PostDetails($0) }),
            let untagged = fields["untagged"]?.array?.compactMap(\.int64),
            let options = fields["options"]?.array?.compactMap(\.int),
            let voters = fields["voters"]?.int
        else { return nil }
        post.details = details
        post.untagged = untagged.map { UserID(rawValue: $0) }
        counts.options = options
        counts.voters = voters
        self.content = content
        self.tags = tags
        self.attachments = attachments
    }
}

/// How posts become HTML, and where their parts are.
struct PostRendering: Sendable {
    /// Without a final slash.
    let publicURL: String

    func html(_ text: RichText, mentions: [Post.Mention]) -> String {
        text.html(
            mentions: Dictionary(
                mentions.map { ($0.username, mention($0)) },
                uniquingKeysWith: { first, _ in first }
            ),
            tagURL: tagURL
        )
    }

    func tagURL(_ tag: String) -> String {
        var encoded = ""
        for byte in tag.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "_"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                encoded += digits.utf8.count == 1 ? "%0" + digits : "%" + digits
            }
        }
        return publicURL + "/tags/" + encoded
    }

    private func mention(_ mention: Post.Mention) -> RichText.Mention {
        RichText.Mention(username: mention.username, url: publicURL + "/@" + mention.username)
    }

    /// A post that passes another one on: for clients that know no reblogs it reads as the original does.
    func reblog(
        _ post: Post,
        account: AccountEntity,
        of original: StatusEntity
    ) -> StatusEntity {
        var entity = StatusEntity(
            id: post.id,
            createdAt: post.createdAt,
            account: account,
            content: original.content,
            visibility: post.visibility,
            sensitive: original.sensitive,
            spoilerText: original.spoilerText,
            language: original.language,
            url: account.url + "/" + post.id.description,
            application: post.application,
            repliesCount: original.repliesCount,
            reblogsCount: original.reblogsCount,
            favouritesCount: original.favouritesCount,
            viewer: original.viewer
        )
        entity.viewer?.pinned = nil
        entity.reblog = original
        return entity
    }

    /// The entity for one viewer; nil marks for nobody.
    func entity(
        _ fragment: PostFragment,
        account: AccountEntity,
        showsLikes: Bool,
        viewer: StatusEntity.ViewerState?
    ) -> StatusEntity {
        let post = fragment.post
        var entity = StatusEntity(
            id: post.id,
            createdAt: post.createdAt,
            editedAt: post.editedAt,
            account: account,
            content: fragment.content,
            visibility: post.visibility,
            sensitive: post.sensitive,
            spoilerText: post.spoilerText,
            language: post.language,
            url: account.url + "/" + post.id.description,
            inReplyTo: post.inReplyTo,
            inReplyToAccount: post.inReplyToAuthor,
            attachments: fragment.attachments,
            mentions: post.mentions.map {
                StatusEntity.Mention(
                    id: $0.user,
                    username: $0.username,
                    url: publicURL + "/@" + $0.username
                )
            },
            tags: fragment.tags.map { StatusTag(name: $0, url: tagURL($0)) },
            application: post.application,
            repliesCount: fragment.counts.replies,
            reblogsCount: fragment.counts.reblogs,
            favouritesCount: showsLikes ? fragment.counts.favourites : 0,
            likesHidden: post.hidesLikes,
            viewer: viewer
        )
        entity.poll = poll(of: fragment, at: .now)
        entity.place = post.details.place.map {
            PlaceEntity(
                name: $0.name,
                latitude: $0.point?.latitude,
                longitude: $0.point?.longitude
            )
        }
        entity.people = post.people.map {
            TaggedPersonEntity(account: $0.user, media: $0.media, x: $0.spot?.x, y: $0.spot?.y)
        }
        if post.details.comments != .everybody { entity.comments = post.details.comments.rawValue }
        return entity
    }
}
