/// A part of the product that can run in processes of its own, with a pool of its own at the balancer.
///
/// The balancer sends each path to the pool of the service that declares it; whatever no other declares is `core`'s.
package enum ServiceName: String, CaseIterable, Sendable {
    /// Accounts, graph, posts, feeds, ranking, and what the server says of itself.
    case core
    /// Uploads, and the files of pictures.
    case media
    case notifications
    case search
    /// Events as they happen, for as long as a client listens.
    case streaming

    /// As people are told that it is not there.
    package var title: String {
        switch self {
        case .core: "Tessera"
        case .media: "The service for pictures"
        case .notifications: "The list of notifications"
        case .search: "Search"
        case .streaming: "Streaming"
        }
    }

    /// Whether its answers go on for as long as a client listens, so that the balancer does not wait for their end.
    package var streams: Bool {
        switch self {
        case .core, .media, .notifications, .search: false
        case .streaming: true
        }
    }
}
