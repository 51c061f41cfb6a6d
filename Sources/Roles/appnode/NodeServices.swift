import Accounts
import Contracts
import Database
import EventLoops
import Feed
import Graph
import Instance
import Interactions
import Media
import Memcache
import Pages
import Posts
import Ranking
import Search
import ServiceKit
import Settings

/// The services of one event loop, each made of what it needs, and the endpoints that each declares.
///
/// All are made on every node: what one asks of another's data it reads from the shards in the same process, through the
/// client in ``Contracts``, so that no pool depends on another for it. Which of them a node *runs*, and so what it serves,
/// keeps busy with and calls elsewhere, is its setting `services`.
struct NodeServices {
    let accounts: AccountsService
    let posts: PostsService
    let feed: FeedService
    let ranking: RankingService
    let interactions: InteractionLog
    let withdrawn: WithdrawnFollower
    let drop: PageDrop
    let routes: ServiceRoutes

    /// What every endpoint of this node needs of each shard's schema.
    static let schemas: [SchemaRequirement] = [
        AccountsService.schema, FeedService.schema, GraphService.schema, MediaService.schema,
        PostsService.schema, RankingService.schema, ServiceKitSchema.requirement,
        // Reads are held against control.ownership, rendered pages against control.withdrawn.
        SchemaRequirement(module: "Database", number: 7),
    ]

    /// The same by module, as the node tells it to etcd.
    static var schemaNumbers: [String: Int] {
        Dictionary(schemas.map { ($0.module, $0.number) }, uniquingKeysWith: max)
    }

    /// Called on `loop`.
    init(loop: EventLoop, shared: NodeParts, database: Database, cache: MemcachedClient) {
        let settings = shared.settings
        let url = settings.publicURL
        withdrawn = WithdrawnFollower(
            loop: loop,
            database: database,
            limits: settings.withdrawnLimits,
            metrics: shared.metrics
        )
        let pages = PageCache(
            loop: loop,
            cache: cache,
            follower: withdrawn,
            lifetime: settings.pageLifetime,
            metrics: shared.metrics
        )
        drop = PageDrop(cache: cache)

        let media = MediaService(
            database: database,
            objects: shared.objects,
            images: shared.images,
            publicURL: url
        )
        let images: any ImageStore =
            if settings.runs(.media) {
                media
            } else {
                RemoteImages(caller: shared.caller(of: .media, on: loop))
            }
        let standing = GraphDirectory(database: database)
        accounts = AccountsService(
            loop: loop,
            database: database,
            cache: cache,
            images: images,
            graph: standing,
            recent: withdrawn,
            security: shared.security,
            settings: settings.accounts,
            publicURL: url
        )
        let graph = GraphService(
            database: database,
            accounts: accounts.directory,
            recent: withdrawn,
            drop: drop
        )
        interactions = InteractionLog(
            database: database,
            servedPerSecond: settings.values.integer("interactions.served_per_second"),
            metrics: shared.metrics,
            log: shared.log
        )
        posts = PostsService(
            database: database,
            cache: cache,
            accounts: accounts.directory,
            graph: standing,
            media: media,
            pages: pages,
            interactions: interactions,
            publicURL: url
        )
        ranking = RankingService(
            database: database,
            interactions: interactions,
            metrics: shared.metrics,
            log: shared.log
        )
        feed = FeedService(
            loop: loop,
            database: database,
            posts: posts.client,
            pages: pages,
            interactions: interactions,
            logger: shared.log
        )
        let search = SearchService(
            accounts: accounts.directory,
            posts: posts.client,
            publicURL: url
        )
        let instance = InstanceService(
            instance: settings.instance,
            figures: NodeFigures(
                loop: loop,
                accounts: accounts.directory,
                feed: feed,
                posts: posts
            ).current
        )
        let core =
            accounts.endpoints + graph.endpoints + posts.endpoints + feed.endpoints
            + instance.endpoints + ranking.endpoints
        routes = ServiceRoutes([
            .core: core, .media: media.endpoints, .search: search.endpoints,
        ])
    }
}
