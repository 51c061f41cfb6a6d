import Contracts
import Database
import HTTP
import Jobs
import Postgres
import ServiceKit
import Sharding

/// Changes a post's text, warning, language and photos; the version before is kept.
struct EditPost: Sendable {
    let directory: PostDirectory

    func callAsFunction(_ call: Call, _ id: PostID, by author: UserID) async throws {
        guard let old = try await directory.store.post(id)?.post, old.author == author else {
            throw ServiceError.notFound
        }
        let draft = try PostDraft(call.input, keeping: old)
        let changes = try MediaChange.all(in: call.input)
        try await check(draft.media, added: draft.media.filter { !old.media.contains($0) }, author)

        var post = old
        post.text = draft.text
        post.spoilerText = draft.spoilerText
        post.sensitive = draft.sensitive
        post.language = draft.language
        post.media = draft.media
        post.hidesLikes = draft.hidesLikes
        post.mentions = try await MentionLookup(accounts: directory.accounts)
            .mentions(in: draft.rich)
        post.editedAt = .now
        for change in changes where draft.media.contains(change.id) {
            try await directory.media.describe(
                change.id,
                owner: author,
                description: change.description,
                focus: change.focus
            )
        }
        try await write(post, instead: old, trace: call.request.traceparent)
        await directory.cache.forget([id])
    }

    private func check(_ media: [MediaID], added: [MediaID], _ author: UserID) async throws {
        guard !added.isEmpty else { return }
        let found = try await directory.media.attachable(added, owner: author)
        guard added.allSatisfy({ found[$0] != nil }) else {
            throw ServiceError.invalid("A photo does not exist or is not ready yet")
        }
    }

    private func write(_ post: Post, instead old: Post, trace: String?) async throws {
        let added = post.media.filter { !old.media.contains($0) }
        let removed = old.media.filter { !post.media.contains($0) }
        var statements = [PostStore.keepVersion(of: post.id), PostStore.update(post)]
        if !removed.isEmpty {
            statements.append(PostStore.detach(removed, from: post.id))
            statements.append(effect(EffectKinds.mediaDetached, post.id, removed, trace))
        }
        if !added.isEmpty {
            statements.append(PostStore.attach(added, to: post.id))
            statements.append(effect(EffectKinds.mediaAttached, post.id, added, trace))
        }
        let rows = try await directory.store.database.write(on: post.id, statements)
        guard !rows[1].isEmpty else { throw ServiceError.notFound }
    }

    private func effect(
        _ kind: String,
        _ post: PostID,
        _ media: [MediaID],
        _ trace: String?
    ) -> SQL {
        Effect(
            kind,
            owner: post,
            payload: MediaAttachedEffect(post: post, media: media),
            traceparent: trace
        ).enqueue
    }
}
