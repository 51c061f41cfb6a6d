import Contracts
import Database
import HTTP
import Postgres
import ServiceKit
import Sharding

/// `/api/tessera/v1/collections`: bookmarks put together under names, which only their owner sees.
struct CollectionRoutes: Sendable {
    /// Collections of one user, posts of one collection, and characters of a name.
    static let collectionLimit = 200
    static let itemLimit = 5_000
    static let nameLimit = 100

    private static let path = "/api/tessera/v1/collections"

    let directory: PostDirectory
    let collections: CollectionStore

    var endpoints: [Endpoint] { [list, create, one, rename, delete, posts, add, remove] }

    // MARK: Collections

    private var list: Endpoint {
        endpoint(
            .get,
            "",
            "getCollections",
            "One's collections, the latest first.",
            inputs: Parameter.paging,
            output: .list("Collection")
        ) { call in
            let page = try PageRequest(call.input)
            let found = try await collections.collections(
                of: call.user(),
                lower: page.lower,
                upper: page.upper,
                ascending: page.isAscending,
                limit: page.limit
            ).sorted { $0.id > $1.id }
            var response = Response.json(found.map(entity))
            response.link(
                call,
                first: found.first?.id.rawValue,
                last: found.last?.id.rawValue,
                isFull: found.count == page.limit
            )
            return response
        }
    }

    private static let name = Parameter(
        "name",
        .string,
        required: true,
        "Its name, at most \(nameLimit) characters; no two of one owner have the same."
    )

    private var create: Endpoint {
        endpoint(.post, "", "createCollection", "Makes a collection.", inputs: [Self.name]) {
            call in
            let user = try call.user()
            let name = try Self.name(call)
            return try await refusingTakenNames {
                try await call.once(for: user, in: collections.database) {
                    guard try await collections.count(of: user) < Self.collectionLimit else {
                        throw ServiceError.invalid(
                            "There can be no more than \(Self.collectionLimit) collections"
                        )
                    }
                    let id = try await collections.nextID(for: user)
                    let made = BookmarkCollection(id: id, name: name)
                    return OnceWrite(
                        response: .json(entity(made)),
                        statements: [CollectionStore.insert(made, of: user)]
                    )
                }
            }
        }
    }

    private var one: Endpoint {
        endpoint(.get, "/:id", "getCollection", "One collection.") { call in
            .json(entity(try await found(call)))
        }
    }

    private var rename: Endpoint {
        endpoint(
            .put,
            "/:id",
            "renameCollection",
            "Gives a collection another name.",
            inputs: [Self.name]
        ) { call in
            let name = try Self.name(call)
            let renamed = try await refusingTakenNames {
                try await collections.rename(call.id(), of: call.user(), to: name)
            }
            guard let renamed else { throw ServiceError.notFound }
            return .json(entity(renamed))
        }
    }

    private var delete: Endpoint {
        endpoint(
            .delete,
            "/:id",
            "deleteCollection",
            "Deletes a collection; what was in it stays bookmarked.",
            output: .emptyObject
        ) { call in
            guard try await collections.delete(call.id(), of: call.user()) else {
                throw ServiceError.notFound
            }
            return .emptyObject
        }
    }

    // MARK: Their posts

    private var posts: Endpoint {
        endpoint(
            .get,
            "/:id/statuses",
            "getCollectionStatuses",
            "The posts of a collection, the latest put in first.",
            inputs: Parameter.paging,
            output: .list("Status")
        ) { call in
            let id = try await found(call).id
            return try await directory.list(call) { page in
                try await collections.posts(
                    in: id,
                    lower: page.lower,
                    upper: page.upper,
                    ascending: page.isAscending,
                    limit: page.limit
                ).newestFirst
            }
        }
    }

    private var add: Endpoint {
        endpoint(
            .post,
            "/:id/statuses",
            "addToCollection",
            "Puts a post into a collection, and bookmarks it.",
            inputs: [Parameter("status_id", .string, required: true, "The post.")]
        ) { call in
            let user = try call.user()
            let id: CollectionID = try call.id()
            guard let wanted = PostID(try call.input.requiredString("status_id")),
                let post = try await directory.original(wanted, viewer: user)?.post.id,
                id.bucket == user.bucket
            else { throw ServiceError.notFound }
            guard
                let collection = try await collections.add(
                    post,
                    to: id,
                    of: user,
                    atMost: Self.itemLimit
                )
            else {
                _ = try await found(call)
                throw ServiceError.invalid(
                    "A collection holds no more than \(Self.itemLimit) posts"
                )
            }
            return .json(entity(collection))
        }
    }

    private var remove: Endpoint {
        endpoint(
            .delete,
            "/:id/statuses/:status_id",
            "removeFromCollection",
            "Takes a post out of a collection; it stays bookmarked."
        ) { call in
            let post: PostID = try call.id("status_id")
            let id: CollectionID = try call.id()
            guard let collection = try await collections.remove(post, from: id, of: call.user())
            else { throw ServiceError.notFound }
            return .json(entity(collection))
        }
    }

    // MARK: Parts

    private func endpoint(
        _ method: Method,
        _ path: String,
        _ operationID: String,
        _ summary: String,
        inputs: [Parameter] = [],
        output: Endpoint.Output = .entity("Collection"),
        handler: @escaping @Sendable (Call) async throws -> Response
    ) -> Endpoint {
        Endpoint(
            method,
            Self.path + path,
            operationID: operationID,
            summary: summary,
            tag: "collections",
            access: .user([method == .get ? "read:bookmarks" : "write:bookmarks"]),
            inputs: inputs,
            output: output,
            handler: handler
        )
    }

    private func found(_ call: Call) async throws -> BookmarkCollection {
        guard let found = try await collections.collection(call.id(), of: call.user()) else {
            throw ServiceError.notFound
        }
        return found
    }

    private static func name(_ call: Call) throws(ServiceError) -> String {
        let text = try PostDraft.text(call.input.requiredString("name"))
        guard !text.isEmpty else { throw .invalid("name can't be blank") }
        guard text.count <= nameLimit, text.utf8.count <= 4 * nameLimit else {
            throw .invalid("name is too long (maximum is \(nameLimit) characters)")
        }
        return text
    }

    private func refusingTakenNames<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch DatabaseError.uniqueViolation(CollectionStore.nameKey) {
            throw ServiceError.invalid("There is a collection of this name already")
        }
    }

    private func entity(_ collection: BookmarkCollection) -> CollectionEntity {
        CollectionEntity(
            id: collection.id.rawValue,
            name: collection.name,
            itemsCount: collection.items,
            createdAt: collection.id.createdAt
        )
    }
}
