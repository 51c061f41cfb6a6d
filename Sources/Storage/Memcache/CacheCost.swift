/// What one request has asked of the caches; whoever wants to know binds one around it.
package final class CacheCost: @unchecked Sendable {
    // @unchecked: counted on the loop of the request only.

    @TaskLocal package static var current: CacheCost?

    /// How often the request waited for a node; questions to several nodes at once count one each.
    package private(set) var roundTrips = 0
    package private(set) var keys = 0

    package init() {}

    func add(roundTrips: Int, keys: Int) {
        self.roundTrips += roundTrips
        self.keys += keys
    }
}
