import Contracts
import EventLoops
import HTTP
import Interactions
import JSON
internal import ServiceKit
import Sharding

/// `POST /api/tessera/v1/interactions`: what a user has looked at, as their client tells it.
final class InteractionRoutes: @unchecked Sendable {
    // @unchecked: touched on its loop only.

    /// Posts of one report.
    static let viewsLimit = 100
    /// An hour; nobody looks at a post for longer.
    static let longestView = 3_600_000
    static let lastPosition = 10_000
    private static let bodyLimit = 64 << 10

    private let log: InteractionLog
    private let views: ViewCounts
    private let loop: EventLoop
    private var budget = ReportBudget()

    init(log: InteractionLog, views: ViewCounts, loop: EventLoop) {
        self.log = log
        self.views = views
        self.loop = loop
    }

    var endpoint: Endpoint {
        Endpoint(
            .post,
            "/api/tessera/v1/interactions",
            operationID: "reportInteractions",
            summary: "Tells which posts were looked at, and for how long.",
            tag: "ranking",
            access: .user([]),
            body: .input(limit: Self.bodyLimit),
            inputs: [
                Parameter(
                    "views",
                    .object,
                    required: true,
                    "Up to 100 of: id, milliseconds, and position in the list, from 0."
                ),
                Parameter(
                    "surface",
                    .oneOf(Surface.allCases.map(\.rawValue)),
                    "Where they were seen; home if it is left out."
                ),
                Parameter("request_id", .string, "X-Request-Id of the answer that held them."),
            ],
            output: .emptyObject,
            success: 202,
            isAction: false
        ) { [self] call in
            let viewer = try call.user()
            let report = try Report(call.input)
            guard budget.take(viewer, at: loop.milliseconds) else {
                throw ServiceError(
                    .rateLimited,
                    "Too many reports; send more posts with each.",
                    headers: ["Retry-After": "\(ReportBudget.recovery.components.seconds)"]
                )
            }
            log.record(report.interaction(of: viewer), of: viewer.bucket)
            views.add(report.posts)
            return .json(status: 202) { $0.object { _ in } }
        }
    }
}

/// What one report says, once it has been checked.
struct Report {
    let surface: Surface
    let request: String
    let posts: [PostID]
    let positions: [Int16]
    let milliseconds: [Int32]

    init(_ input: Input) throws(ServiceError) {
        surface = try Self.surface(input)
        request = try Self.request(input)
        let views = input.objects("views")
        guard !views.isEmpty else { throw .invalid("Views can't be blank") }
        guard views.count <= InteractionRoutes.viewsLimit else {
            throw .invalid("Views are at most \(InteractionRoutes.viewsLimit)")
        }
        var posts: [PostID] = []
        var positions: [Int16] = []
        var milliseconds: [Int32] = []
        for view in views {
            guard let post = view.string("id").flatMap({ PostID($0) }) else {
                throw .invalid("A view has no id of a post")
            }
            posts.append(post)
            positions.append(
                Int16(try Self.number(view, "position", 0...InteractionRoutes.lastPosition) ?? 0)
            )
            guard
                let time = try Self.number(view, "milliseconds", 0...InteractionRoutes.longestView)
            else { throw .invalid("A view has no milliseconds") }
            milliseconds.append(Int32(time))
        }
        self.posts = posts
        self.positions = positions
        self.milliseconds = milliseconds
    }

    private static func surface(_ input: Input) throws(ServiceError) -> Surface {
        guard let name = input.string("surface"), !name.isEmpty else { return .home }
        guard let surface = Surface(rawValue: name) else {
            throw .invalid("Surface is not included in the list")
        }
        return surface
    }

    private static func request(_ input: Input) throws(ServiceError) -> String {
        let id = input.string("request_id") ?? ""
        let isPlain = id.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard id.utf8.count <= Interaction.requestLimit, isPlain else {
            throw .invalid("Request is no id")
        }
        return id
    }

    private static func number(
        _ view: Input,
        _ name: String,
        _ range: ClosedRange<Int>
    ) throws(ServiceError) -> Int? {
        guard view.has(name) else { return nil }
        guard let number = view.int(name), range.contains(number) else {
            throw .invalid(
                "A view's \(name) is not between \(range.lowerBound) and \(range.upperBound)"
            )
        }
        return number
    }

    func interaction(of viewer: UserID) -> Interaction {
        Interaction(
            at: .now,
            kind: .seen,
            viewer: viewer.rawValue,
            request: request,
            surface: surface,
            ordering: "",
            posts: posts.map(\.rawValue),
            positions: positions,
            milliseconds: milliseconds
        )
    }
}
