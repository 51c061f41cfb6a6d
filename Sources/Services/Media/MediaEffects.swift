import Contracts
import Jobs
import Sharding

/// A post has taken media: they no longer expire.
struct MediaAttachedHandler: EffectHandler {
    let kind = EffectKinds.mediaAttached
    let store: MediaStore

    func handle(_ effect: ClaimedEffect) async throws {
        let attached = try effect.decode(MediaAttachedEffect.init)
        try await store.attach(attached.media, to: attached.post)
    }
}

/// A post with media is deleted: the collector may take their files.
struct MediaDetachedHandler: EffectHandler {
    let kind = EffectKinds.mediaDetached
    let store: MediaStore

    func handle(_ effect: ClaimedEffect) async throws {
        let detached = try effect.decode(MediaAttachedEffect.init)
        try await store.detach(detached.media, from: detached.post)
    }
}

/// An account is deleted: the pictures of its profile go. Photos go with their posts, drafts by themselves.
struct OwnerGoneHandler: EffectHandler {
    let kind = EffectKinds.mediaOwnerGone
    let store: MediaStore

    func handle(_ effect: ClaimedEffect) async throws {
        let owner = try effect.decode(UserEffect.init).user
        try await store.withdrawProfile(of: owner)
    }
}
