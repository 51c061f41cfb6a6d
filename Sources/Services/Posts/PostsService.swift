import Contracts
import Database
import Interactions
import Jobs
import Memcache
import Pages
import ServiceKit

/// Posts and comments with their photos: publish, read, edit, delete, like, bookmark, list.
///
/// A post lives in its author's bucket, and with it everything about it: likes, counts, answers. What
/// belongs to others (feeds, the actor's own lists, the parent's list of answers) follows by effects. Read
/// ``PublishPost`` for the write and ``PostDirectory`` for the read.
package struct PostsService: Service {
    package static let schema = SchemaRequirement(module: "Posts", number: 5)

    let directory: PostDirectory
    let replies: ReplyStore
    private let database: Database
    private let refresh: CountRefresh
    private let serving: PageServing

    package init(
        database: Database,
        cache: any CacheClient,
        accounts: any AccountsClient,
        graph: any GraphClient,
        media: any MediaClient,
        pages: PageCache?,
        interactions: InteractionLog?,
        publicURL: String
    ) {
        serving = PageServing(pages: pages, interactions: interactions, surface: .profile)
        self.database = database
        let favourites = FavouriteStore(database: database)
        let bookmarks = BookmarkStore(database: database)
        replies = ReplyStore(database: database)
        directory = PostDirectory(
            store: PostStore(database: database),
            favourites: favourites,
            bookmarks: bookmarks,
            marks: MarkStore(database: database, favourites: favourites, bookmarks: bookmarks),
            cache: PostCache(cache: cache),
            accounts: accounts,
            graph: graph,
            media: media,
            rendering: PostRendering(publicURL: publicURL),
            pages: pages
        )
        refresh = CountRefresh(loop: database.loop, cache: directory.cache)
    }

    /// What other services use.
    package var client: any PostsClient { directory }

    package var endpoints: [Endpoint] {
        StatusRoutes(directory: directory, replies: replies, database: database).endpoints
            + FavouriteRoutes(directory: directory, refresh: refresh).endpoints
            + StatusListRoutes(directory: directory, serving: serving).endpoints
            + InsightRoutes(directory: directory).endpoints
            + HeldComments(directory: directory).endpoints
    }

    package var effects: [any EffectHandler] {
        [
            MirrorFavourite(favourites: directory.favourites),
            NoteReply(replies: replies, cache: directory.cache),
            NoteHeldComment(database: database), ReleaseComment(directory: directory),
            ForgetAuthor(directory: directory),
        ]
    }

    /// How many posts there are, as the shards' statistics have it.
    package func estimatedCount() async throws -> Int {
        try await directory.store.estimatedCount()
    }

    /// The most characters, photos and pinned posts that are taken.
    package static let characterLimit = PostDraft.characterLimit
    package static let charactersPerURL = PostDraft.charactersPerURL
    package static let mediaLimit = PostDraft.mediaLimit
    package static let pinnedLimit = FavouriteRoutes.pinnedLimit
}
