package import JSON

// The stored form of a pool's map, the value of /tessera/pools/<pool>:
//
//     {"version":1,"generation":7,"nodes":[{"id":"c1","host":"127.0.0.1","port":11311,"weight":1}],
//      "slots":[{"node":"c1","phase":"steady","slots":"0-511,700"}]}

extension PoolMap: JSONEncodable {
    /// The version that this program writes; any other is refused.
    package static let version = 1

    package func write(to json: inout JSONWriter) {
        var groups: [Slot: [Int]] = [:]
        for (number, slot) in slots.enumerated() { groups[slot, default: []].append(number) }
        json.object { json in
            json.field("version", Self.version)
            json.field("generation", generation)
            json.key("nodes")
            json.array { json in
                for node in nodes {
                    json.object { json in
                        json.field("id", node.id.name)
                        json.field("host", node.host)
                        json.field("port", node.port)
                        json.field("weight", node.weight)
                    }
                }
            }
            json.key("slots")
            json.array { json in
                for (slot, numbers) in groups.sorted(by: { $0.value[0] < $1.value[0] }) {
                    json.object { json in
                        json.field("node", slot.node.name)
                        if let other = slot.other { json.field("other", other.name) }
                        json.field("phase", slot.phase.rawValue)
                        json.field("slots", Runs(numbers).text)
                    }
                }
            }
        }
    }

    package init(json: JSONValue) throws(CodecError) {
        guard json["version"]?.int == Self.version, let generation = json["generation"]?.int64,
            let nodes = json["nodes"]?.array, let groups = json["slots"]?.array
        else { throw CodecError("not a pool of version \(Self.version)") }
        var slots: [Slot?] = Array(repeating: nil, count: Self.slotCount)
        for group in groups {
            let slot = try Self.slot(group)
            guard let numbers = group["slots"]?.string.flatMap({ Runs($0, below: Self.slotCount) })
            else { throw CodecError("node \(slot.node) has slots that cannot be") }
            for number in numbers.numbers {
                guard slots[number] == nil else { throw CodecError("slot \(number) stands twice") }
                slots[number] = slot
            }
        }
        if let hole = slots.firstIndex(of: nil) { throw CodecError("slot \(hole) has no node") }
        try self.init(
            generation: generation,
            nodes: try nodes.map(Self.node),
            slots: slots.compactMap { $0 }
        )
    }

    private static func node(_ json: JSONValue) throws(CodecError) -> Node {
        guard let id = json["id"]?.string.flatMap({ CacheNodeID($0) }),
            let host = json["host"]?.string, let port = json["port"]?.int,
            let weight = json["weight"]?.int
        else { throw CodecError("a node without id, host, port or weight") }
        return Node(id: id, host: host, port: port, weight: weight)
    }

    private static func slot(_ json: JSONValue) throws(CodecError) -> Slot {
        guard let node = json["node"]?.string.flatMap({ CacheNodeID($0) }),
            let phase = json["phase"]?.string.flatMap({ Phase(rawValue: $0) })
        else { throw CodecError("slots without node or phase") }
        return Slot(
            node: node,
            other: json["other"]?.string.flatMap { CacheNodeID($0) },
            phase: phase
        )
    }
}

/// Whole numbers as runs: `0-255,300`.
struct Runs: Equatable {
    var numbers: [Int]

    init(_ ascending: [Int]) { numbers = ascending }

    /// nil where the text is anything else, or a number is not below the bound.
    init?(_ text: String, below bound: Int) {
        numbers = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard let first = ends.first ?? nil, let last = ends.last ?? nil, ends.count <= 2,
                first >= 0, first <= last, last < bound
            else { return nil }
            numbers.append(contentsOf: first...last)
        }
    }

    var text: String {
        var runs: [ClosedRange<Int>] = []
        for number in numbers {
            if let last = runs.last, last.upperBound + 1 == number {
                runs[runs.count - 1] = last.lowerBound...number
            } else {
                runs.append(number...number)
            }
        }
        return runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ",")
    }
}
