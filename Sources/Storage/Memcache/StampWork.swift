/// How a client gets to know the stamp of a node, gives it one if it has none, or gives it another incarnation.
///
/// A node without a stamp has forgotten everything, also that an old map must not be used with it. So nobody gives it
/// one unless asked elsewhere, after seeing that it has none and over the same connection: a further restart in
/// between ends that.
struct StampWork: Equatable {
    enum Event: Equatable {
        /// With memcached's number of what was read.
        case read(NodeStamp?, unique: UInt64)
        case written(Bool)
        case confirmed(Bool)
    }

    enum Effect: Equatable {
        case read
        /// Only where there is none.
        case add(NodeStamp)
        case replace(NodeStamp, unique: UInt64)
        /// Is the client's map the newest?
        case confirm
        case known(NodeStamp)
        case failed(String)
    }

    private enum State: Equatable {
        case reading
        case confirming
        case writing
        case ended
    }

    private static let attempts = 4

    /// Whether what the node holds has been put out of reach.
    private(set) var isRenewed = false

    let renews: Bool
    private let newest: Int64
    private let draw: @Sendable () -> UInt32
    private var state = State.reading
    private var left = StampWork.attempts

    /// `newest` is the generation of the client's map; `draw` gives incarnations.
    init(
        renews: Bool,
        newest: Int64,
        draw: @escaping @Sendable () -> UInt32 = { .random(in: 1...UInt32.max) }
    ) {
        self.renews = renews
        self.newest = newest
        self.draw = draw
    }

    static func == (a: StampWork, b: StampWork) -> Bool {
        (a.state, a.isRenewed, a.renews, a.newest, a.left)
            == (b.state, b.isRenewed, b.renews, b.newest, b.left)
    }

    /// The first effect.
    var start: Effect { .read }

    mutating func apply(_ event: Event) -> Effect {
        switch (state, event) {
        case (.reading, .read(nil, _)):
            state = .confirming
            return .confirm
        case (.reading, .read(let stamp?, let unique)):
            guard renews, !isRenewed else {
                state = .ended
                return .known(stamp)
            }
            state = .writing
            return .replace(
                NodeStamp(incarnation: draw(), generation: stamp.generation),
                unique: unique
            )
        case (.confirming, .confirmed(true)):
            state = .writing
            return .add(NodeStamp(incarnation: draw(), generation: newest))
        case (.confirming, .confirmed(false)):
            state = .ended
            return .failed("nobody confirms that its map is the newest")
        case (.writing, .written(let isDone)):
            isRenewed = isRenewed || isDone
            left -= 1
            guard left > 0 else {
                state = .ended
                return .failed("its stamp changes all the time")
            }
            state = .reading
            return .read
        default:
            state = .ended
            return .failed("\(event) does not fit \(state)")
        }
    }
}
