import HTTP
import JSON
import ServiceKit

/// Questions whose right answer is "there is none".
enum EmptyAnswers {
    private struct Question {
        let path: String
        let operationID: String
        let access: Endpoint.Access
        let summary: String
    }

    private static let lists: [Question] = [
        Question(
            path: "/api/v1/custom_emojis",
            operationID: "getCustomEmojis",
            access: .open,
            summary: "Custom emojis; there are none."
        ),
        Question(
            path: "/api/v1/filters",
            operationID: "getFiltersV1",
            access: .user(["read:filters"]),
            summary: "Filters of version 1; there are none."
        ),
        Question(
            path: "/api/v2/filters",
            operationID: "getFilters",
            access: .user(["read:filters"]),
            summary: "Filters; there are none."
        ),
        Question(
            path: "/api/v1/announcements",
            operationID: "getAnnouncements",
            access: .user([]),
            summary: "Announcements; there are none."
        ),
        Question(
            path: "/api/v1/lists",
            operationID: "getLists",
            access: .user(["read:lists"]),
            summary: "Lists; there are none."
        ),
        Question(
            path: "/api/v1/trends/statuses",
            operationID: "getTrendingStatuses",
            access: .optionalUser,
            summary: "Trending posts; none are computed."
        ),
        Question(
            path: "/api/v1/trends/tags",
            operationID: "getTrendingTags",
            access: .optionalUser,
            summary: "Trending hashtags; none are computed."
        ),
        Question(
            path: "/api/v1/trends/links",
            operationID: "getTrendingLinks",
            access: .optionalUser,
            summary: "Trending links; none are computed."
        ),
        Question(
            path: "/api/v1/trends",
            operationID: "getTrends",
            access: .optionalUser,
            summary: "Trending hashtags by their older name."
        ),
        Question(
            path: "/api/v1/conversations",
            operationID: "getConversations",
            access: .user(["read:statuses"]),
            summary: "Conversations; none are kept."
        ),
        Question(
            path: "/api/v1/suggestions",
            operationID: "getSuggestionsV1",
            access: .user(["read"]),
            summary: "Accounts to follow, by the older shape; none are computed."
        ),
        Question(
            path: "/api/v2/suggestions",
            operationID: "getSuggestions",
            access: .user(["read"]),
            summary: "Accounts to follow; none are computed."
        ),
        Question(
            path: "/api/v1/featured_tags",
            operationID: "getFeaturedTags",
            access: .user(["read:accounts"]),
            summary: "Hashtags on the own profile; none can be."
        ),
        Question(
            path: "/api/v1/domain_blocks",
            operationID: "getDomainBlocks",
            access: .user(["read:blocks"]),
            summary: "Blocked servers; there are no others."
        ),
        Question(
            path: "/api/v1/endorsements",
            operationID: "getEndorsements",
            access: .user(["read:accounts"]),
            summary: "Recommended accounts; none can be."
        ),
        Question(
            path: "/api/v1/instance/rules",
            operationID: "getInstanceRules",
            access: .open,
            summary: "Rules of the server."
        ),
        Question(
            path: "/api/v1/instance/peers",
            operationID: "getInstancePeers",
            access: .open,
            summary: "Servers that this one knows."
        ),
        Question(
            path: "/api/v1/instance/activity",
            operationID: "getInstanceActivity",
            access: .open,
            summary: "Weekly activity; none is published."
        ),
    ]

    static var endpoints: [Endpoint] {
        lists.map { question in
            Endpoint(
                .get,
                question.path,
                operationID: question.operationID,
                summary: question.summary,
                tag: "empty",
                access: question.access,
                output: .emptyList
            ) { _ in .emptyList }
        }
    }
}
