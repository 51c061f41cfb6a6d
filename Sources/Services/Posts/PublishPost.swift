import Contracts
import Counters
import HTTP
import Jobs
import Postgres
import ServiceKit
import Sharding

/// Publishes a post or a comment: one transaction on the author's shard holds all of it.
///
/// Everything that can be refused is refused before the write. The write holds the post, what it takes
/// (photos), what it causes (fan-out, the parent's list) and the count of posts; the answer is complete
/// beforehand, so that the same transaction can keep it for a repeat.
struct PublishPost: Sendable {
    let directory: PostDirectory

    func write(_ call: Call, by author: UserID) async throws -> OnceWrite {
        let draft = try PostDraft(call.input)
        let visibility = try Self.visibility(call.input)
        let parent = try await parent(of: call, viewer: author)
        for change in try MediaChange.all(in: call.input) where draft.media.contains(change.id) {
            try await directory.media.describe(
                change.id,
                owner: author,
                description: change.description,
                focus: change.focus
            )
        }

        async let id = directory.store.nextID(for: author)
        async let mentions = MentionLookup(accounts: directory.accounts).mentions(in: draft.rich)
        async let photos = photos(draft.media, of: author)
        async let account = directory.accounts.accounts([author])
        async let held = mustWait(author, under: parent)
        let (newID, found, attachments) = try await (id, mentions, photos)
        guard var account = try await account[author] else { throw ServiceError.unauthorized }
        let isHeld = try await held
        if visibility.isOpen, !isHeld {
            account.statusesCount += 1
            account.lastStatusAt = newID.createdAt
        }

        let post = Post(
            id: newID,
            author: author,
            text: draft.text,
            spoilerText: draft.spoilerText,
            sensitive: draft.sensitive,
            language: draft.language,
            visibility: visibility,
            media: draft.media,
            mentions: found,
            inReplyTo: parent?.id,
            inReplyToAuthor: parent?.author,
            root: parent.map { $0.root ?? $0.id },
            rootAuthor: parent.map { $0.rootAuthor ?? $0.author },
            application: call.authentication?.application,
            createdAt: newID.createdAt,
            isHeld: isHeld,
            hidesLikes: draft.hidesLikes
        )
        let fragment = PostFragment(
            CountedPost(post: post),
            attachments: attachments,
            rendering: directory.rendering
        )
        let entity = directory.rendering.entity(
            fragment,
            account: account,
            showsLikes: true,
            viewer: StatusEntity.ViewerState(pinned: false)
        )
        return OnceWrite(
            response: .json(entity),
            statements: Self.statements(
                for: post,
                isOpen: !account.locked,
                trace: call.request.traceparent
            )
        )
    }

    private static func visibility(_ input: Input) throws(ServiceError) -> Visibility {
        guard let text = input.string("visibility"), !text.isEmpty else { return .public }
        guard let visibility = Visibility(rawValue: text) else {
            throw .invalid("Visibility is not included in the list")
        }
        return visibility
    }

    /// The post that is answered; one that the author may not see is not there.
    private func parent(of call: Call, viewer: UserID) async throws -> Post? {
        guard let text = call.input.string("in_reply_to_id"), !text.isEmpty else { return nil }
        guard let id = PostID(text),
            let parent = try await directory.fragment(id, viewer: viewer)
        else {
            throw ServiceError(
                .notFound,
                "The post you are trying to reply to does not appear to exist."
            )
        }
        return parent.post
    }

    /// Whether a comment waits until the owner of the post lets it through: the owner restricts the author, or it
    /// answers one that waits.
    private func mustWait(_ author: UserID, under parent: Post?) async throws -> Bool {
        guard let parent else { return false }
        if parent.isHeld { return true }
        let host = parent.rootAuthor ?? parent.author
        return host == author ? false : try await directory.graph.restricts(host, author)
    }

    private func photos(
        _ ids: [MediaID],
        of author: UserID
    ) async throws -> [MediaAttachmentEntity] {
        guard !ids.isEmpty else { return [] }
        // Another user's photo lives in another bucket or has another owner: not found either way.
        let found = try await directory.media.attachable(ids, owner: author)
        let photos = ids.compactMap { found[$0] }
        guard photos.count == ids.count else {
            throw ServiceError.invalid("A photo does not exist or is not ready yet")
        }
        return photos
    }

    /// `isOpen` says that the author's open posts are for everybody.
    static func statements(for post: Post, isOpen: Bool, trace: String?) -> [SQL] {
        var statements = [PostStore.insert(post)]
        if !post.media.isEmpty {
            statements.append(PostStore.attach(post.media, to: post.id))
            statements.append(
                Effect(
                    EffectKinds.mediaAttached,
                    owner: post.id,
                    payload: MediaAttachedEffect(post: post.id, media: post.media),
                    traceparent: trace
                ).enqueue
            )
        }
        if post.isFannedOut {
            statements.append(
                Effect(
                    EffectKinds.feedFanOut,
                    owner: post.id,
                    payload: PostEffect(post: post.id, author: post.author),
                    traceparent: trace
                ).enqueue
            )
        }
        if post.isHeld {
            if let held = HeldEffect(post, waits: true) {
                statements.append(
                    Effect(
                        EffectKinds.postsHeld,
                        owner: post.id,
                        payload: held,
                        traceparent: trace
                    ).enqueue
                )
            }
        } else if let reply = Self.reply(post, active: true, isOpen: isOpen) {
            statements.append(
                Effect(
                    EffectKinds.postsReply,
                    owner: post.id,
                    payload: reply,
                    traceparent: trace
                ).enqueue
            )
        }
        if post.isCounted {
            statements.append(
                Counters.append(subject: post.author, kind: CounterKind.statuses, amount: 1)
            )
        }
        return statements
    }

    static func reply(_ post: Post, active: Bool, isOpen: Bool = true) -> ReplyEffect? {
        post.inReplyTo.map {
            ReplyEffect(
                parent: $0,
                reply: post.id,
                author: post.author,
                isCounted: post.visibility.isOpen && isOpen,
                active: active
            )
        }
    }
}

/// Which users a text mentions.
struct MentionLookup: Sendable {
    let accounts: any AccountsClient

    func mentions(in text: RichText) async throws -> [Post.Mention] {
        let names = text.mentions
        guard !names.isEmpty else { return [] }
        let found = try await accounts.find(usernames: names)
        return names.compactMap { name in found[name].map { Post.Mention(user: $0, username: name) }
        }
    }
}
