import Contracts
import HTTP
import Interactions
import JSON
import Pages
import Sharding

/// What a page of posts consists of, rendered just now.
package struct PageContents: Sendable {
    package var json: [UInt8]
    package var posts: [PostReference]
    /// Authors whose posts were merged into it when it was read.
    package var merged: [UserID]
    /// The cursors of its ends.
    package var first: Int64?
    package var last: Int64?
    /// Whether there may be more below.
    package var isFull: Bool

    /// `shown` are the posts on the page; its cursors may be those of others, which were left out.
    package init(
        showing shown: [StatusEntity],
        merged: [UserID] = [],
        first: Int64?,
        last: Int64?,
        isFull: Bool
    ) {
        var json = JSONWriter(reserving: 4_096)
        json.array(shown)
        self.json = json.bytes
        // What is passed on as well, behind the rest: what is withdrawn must drop the pages that show it.
        posts = (shown + shown.compactMap(\.reblog)).map {
            PostReference(id: $0.id, author: $0.account.id)
        }
        self.merged = merged
        self.first = first
        self.last = last
        self.isFull = isFull
    }
}

/// Answers requests for pages of posts: from the cache where a rendered one may be served, else rendered now.
package struct PageServing: Sendable {
    private let pages: PageCache?
    private let interactions: InteractionLog?
    private let surface: Surface

    /// Which order these pages have, as the log of interactions names it.
    private static let ordering = "newest-1"

    /// Longer requests have their header lines written each time.
    private static let targetLimit = 512

    /// Without a cache every page is rendered; without a log nobody learns what was served.
    package init(pages: PageCache?, interactions: InteractionLog?, surface: Surface) {
        self.pages = pages
        self.interactions = interactions
        self.surface = surface
    }

    /// A page that is not a first one, or not one that is kept, has no key.
    package func answer(
        _ call: Call,
        _ key: PageKey?,
        limit: Int,
        render: () async throws -> PageContents
    ) async throws -> Response {
        guard let key, let pages else {
            return response(call, try await render())
        }
        switch await pages.find(key, limit: limit) {
        case .page(let page):
            return response(call, page)
        case .nothing(nil):
            return response(call, try await render())
        case .nothing(let draft?):
            let contents: PageContents
            do {
                contents = try await render()
            } catch {
                pages.abandon(draft)
                throw error
            }
            let page = Self.page(contents, draft, call, limit: limit)
            pages.keep(page, draft)
            return response(call, page)
        }
    }

    private static func page(
        _ contents: PageContents,
        _ draft: PageDraft,
        _ call: Call,
        limit: Int
    ) -> RenderedPage {
        let tag = EntityTag.tag(contents.json)
        var headers: Headers = ["ETag": tag]
        headers["Link"] = call.link(
            first: contents.first,
            last: contents.last,
            isFull: contents.isFull
        )
        let target = Array(call.request.target.utf8)
        let isShort = target.count <= targetLimit
        return RenderedPage(
            facts: PageFacts(
                viewer: call.viewer?.rawValue,
                posts: contents.posts.map {
                    .init(post: $0.id.rawValue, author: $0.author.rawValue)
                },
                merged: contents.merged.map(\.rawValue),
                position: draft.position
            ),
            limit: limit,
            first: contents.first,
            last: contents.last,
            isFull: contents.isFull,
            renderedAt: PageCache.wallMilliseconds,
            tag: tag,
            stamps: draft.stamps,
            target: isShort ? target : [],
            lines: isShort ? HeaderLines.rendered(headers) : [],
            json: contents.json
        )
    }

    private func response(_ call: Call, _ page: RenderedPage) -> Response {
        record(call, page.posts.map { PostID(rawValue: $0.post) })
        let request = call.request
        let isSameRequest = page.bytes.withUnsafeBufferPointer {
            request.isTarget(UnsafeBufferPointer(rebasing: $0[page.target]))
        }
        // Its links go on from what was asked then.
        guard isSameRequest else { return relinked(call, page) }
        var response = Response(body: .part(page.bytes, page.body))
        response.lines = HeaderLines(page.bytes, page.lines)
        response.defaults = CommonHeaders.page
        if Self.has(request, page) {
            response.status = 304
            response.body = .none
            response.defaults = CommonHeaders.unchanged
        }
        return response
    }

    /// Whether the client has the page already.
    private static func has(_ request: Request, _ page: RenderedPage) -> Bool {
        guard request.hasHeader("If-None-Match") else { return false }
        let isExact = page.bytes.withUnsafeBufferPointer {
            request.header(
                "If-None-Match",
                isExactly: UnsafeBufferPointer(rebasing: $0[page.tagRange])
            )
        }
        return isExact
            || request.header("If-None-Match").map { EntityTag.matches($0, page.tag) } ?? false
    }

    private func relinked(_ call: Call, _ page: RenderedPage) -> Response {
        var response = Response(headers: Self.json, body: .part(page.bytes, page.body))
        response.link(call, first: page.first, last: page.last, isFull: page.isFull)
        return response.tagged(page.tag, for: call.request)
    }

    private func response(_ call: Call, _ contents: PageContents) -> Response {
        record(call, contents.posts.map(\.id))
        var response = Response(headers: Self.json, body: .bytes(contents.json))
        response.link(call, first: contents.first, last: contents.last, isFull: contents.isFull)
        return response.tagged(for: call.request)
    }

    private func record(_ call: Call, _ posts: @autoclosure () -> [PostID]) {
        guard let interactions, let viewer = call.viewer else { return }
        interactions.record(
            request: call.request.id,
            viewer: viewer,
            surface: surface,
            ordering: Self.ordering,
            posts: posts()
        )
    }

    private static let json: Headers = ["Content-Type": "application/json; charset=utf-8"]
}
