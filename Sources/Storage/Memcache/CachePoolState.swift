import EventLoops
import Sharding

/// One pool as a client uses it by one map; the next map makes the next one.
final class CachePoolState {
    let map: PoolMap
    let isSteady: Bool

    /// In the order of the map's nodes.
    let lanes: [any CacheLane]

    /// What was counted on nodes that are gone.
    private(set) var past: CacheStatistics

    /// Something could not be deleted by this map: what comes after it distrusts its nodes, too.
    private var owesDeletes = false

    /// Since when each node has not taken what was to be deleted there; nil for those that do.
    private var deafSince: [UInt64?]

    /// Who waits for the next map.
    var waiting: [MapWaiter] = []

    /// How often the old node of a pair had been put out of reach when the new one was, too.
    private var followed: [NodePair: Int]

    private struct NodePair: Hashable {
        let from: CacheNode
        let to: CacheNode
    }

    init(
        map: PoolMap,
        after old: CachePoolState?,
        makeLane: (CacheNode) -> any CacheLane
    ) {
        self.map = map
        isSteady = map.phase == .steady
        followed = old?.followed ?? [:]
        past = old?.past ?? CacheStatistics()
        var known: [CacheNode: any CacheLane] = [:]
        for lane in old?.lanes ?? [] { known[lane.node] = lane }
        lanes = map.nodes.map { node in
            let lane = known.removeValue(forKey: node) ?? makeLane(node)
            lane.adopt(generation: map.generation)
            if old?.owesDeletes == true { lane.markStale() }
            return lane
        }
        deafSince = lanes.map { _ in nil }
        if let old { followHomes(of: old) }
        for lane in known.values {
            past += lane.statistics
            lane.close()
        }
        let nodes = Set(map.nodes)
        followed = followed.filter { nodes.contains($0.key.from) && nodes.contains($0.key.to) }
    }

    /// Puts everything on the nodes out of reach before it is used again, by this map or the next one.
    func distrust() {
        owesDeletes = true
        for lane in lanes { lane.markStale() }
    }

    /// What could not be deleted where a slot was read may have been copied to where it is read from now on.
    private func followHomes(of old: CachePoolState) {
        guard !old.lanes.isEmpty, !lanes.isEmpty else { return }
        var steps: Set<[Int]> = []
        for slot in 0..<PoolMap.slotCount {
            guard let before = old.map.route(of: slot), let after = map.route(of: slot) else {
                continue
            }
            for holder in after.holders { steps.insert([before.home, holder]) }
        }
        for step in steps {
            let before = old.lanes[step[0]], after = lanes[step[1]]
            if before !== after { _ = follow(before, after) }
        }
    }

    /// Puts `new` out of reach where `old` was since this was last asked; false while `old` has still to be.
    private func follow(_ old: any CacheLane, _ new: any CacheLane) -> Bool {
        guard !old.isStale else {
            new.markStale()
            return false
        }
        let pair = NodePair(from: old.node, to: new.node)
        let renewals = old.renewals
        if followed[pair] ?? 0 != renewals {
            new.markStale()
            followed[pair] = renewals
        }
        return true
    }

    // MARK: Routes

    func route(of key: CacheKey) -> SlotRoute {
        if lanes.count == 1 { return .steady(0) }
        // A pool with nodes has a route for each slot.
        return map.route(of: key.slot)!
    }

    func home(of key: CacheKey) -> Int { route(of: key).home }

    /// Whether the node that a slot goes to may be read and filled by this client.
    ///
    /// Not while the one that it leaves does not answer, or may hold what this client could not delete: others may
    /// copy it. And what was put out of reach there is put out of reach here, too.
    func mayUse(_ route: SlotRoute) -> Bool {
        switch route {
        case .steady, .announced: return true
        case .warming(let from, let to), .settling(let from, let to):
            guard lanes[from].isUp, !lanes[from].isStale else { return false }
            return follow(lanes[from], lanes[to])
        }
    }

    /// Whether the nodes by which a key is read and filled are asked at all.
    func answers(_ key: CacheKey) -> Bool {
        if lanes.allSatisfy(\.isUp) { return true }
        switch route(of: key) {
        case .steady(let home), .announced(let home, _): return lanes[home].isUp
        case .warming(let from, let to), .settling(let from, let to):
            return lanes[from].isUp && lanes[to].isUp
        }
    }

    // MARK: Removals

    /// How long what must be deleted waits for a node that has gone away: twice what a connection takes to come back. Of a
    /// node that is away for longer, everybody knows.
    private static let removalPatience: UInt64 = 1_000

    func note(removal reply: CacheReply, at node: Int, _ loop: EventLoop) {
        if case .outdated = reply { return }
        deafSince[node] = reply.isDone ? nil : deafSince[node] ?? loop.milliseconds
    }

    /// Whether a node that may have the key, and did not take its deletion, went away only just now.
    func isWorthWaiting(for key: CacheKey, _ loop: EventLoop) -> Bool {
        let deaf = route(of: key).holders.compactMap { deafSince[$0] }
        return !deaf.isEmpty
            && deaf.allSatisfy { loop.milliseconds < $0 + Self.removalPatience }
    }

    func submit(_ command: CacheCommand, _ node: Int, _ waiter: CacheWaiter) {
        lanes[node].submit(command, generation: map.generation, waiter)
    }

    func countCopy() { past.copied += 1 }
}

/// Who waits for a newer map, but not for ever; touched on the client's loop only.
final class MapWaiter {
    var continuation: UnsafeContinuation<Void, Never>?
    var timer: LoopTimer?

    /// Once; a second call does nothing.
    func wake() {
        timer?.cancel()
        timer = nil
        continuation.take()?.resume()
    }
}
