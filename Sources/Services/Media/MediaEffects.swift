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
