/// One change of a cache pool: nodes come or go, slots change their node, the new ones warm up.
///
/// Pure steps from one map to the next; whoever writes maps does so by compare-and-set on the generation.
package enum PoolChange: Hashable, Sendable {
    /// The first map, or nodes join, leave or change their share: exactly the slots that must move get a new node, and
    /// the old one as previous node.
    case nodes([PoolMap.Node])
    /// The new node answers where the old one did; its slots are empty.
    case replace(CacheNodeID, with: PoolMap.Node)
    /// Warm-up is over: previous nodes are forgotten, and nodes without slots leave.
    case finish
    /// Back to the previous nodes.
    case abandon
}
