// The stored form of a pool's map, the same in etcd and on a node's disk:
//
//     tessera-pool 1
//     generation 7
//     phase warming
//     slots 10.0.0.1:11211 - 0-203,410
//     slots 10.0.0.5:11211 10.0.0.1:11211 204-409
//     end 5f1d0c…
//
// `slots OWNER SOURCE RANGES`: the source is the node that they are leaving, or `-`.

extension PoolMap {
    /// The version of the stored form that this program writes; it refuses any other.
    package static let textVersion = 1

    /// A stored map is never larger; a longer text is refused unread.
    package static let textLimit = 1 << 18

    /// The stored form; equal maps have equal texts.
    package var text: String {
        var lines = ["generation \(generation)", "phase \(phase.rawValue)"]
        var groups: [[UInt16]: [Int]] = [:]
        for slot in owners.indices {
            groups[[owners[slot], sources[slot]], default: []].append(slot)
        }
        for (places, slots) in groups.sorted(by: { $0.value[0] < $1.value[0] }) {
            let source = places[0] == places[1] ? "-" : "\(nodes[Int(places[1])])"
            lines.append("slots \(nodes[Int(places[0])]) \(source) \(rangesText(slots))")
        }
        return SealedText.seal(lines, as: Self.form)
    }

    private static let form = "tessera-pool \(textVersion)"

    /// Reads the stored form; a torn or altered text is refused by its last line.
    package init(text: String) throws(PoolMapError) {
        let sealed: SealedText
        do {
            sealed = try SealedText(text, form: Self.form, limit: Self.textLimit)
        } catch {
            throw PoolMapError(error.description)
        }
        let head = Array(sealed.lines.prefix(2))
        guard head.count == 2, head[0].hasPrefix("generation "),
            let generation = Int64(head[0].dropFirst(11)), head[1].hasPrefix("phase "),
            let phase = Phase(rawValue: String(head[1].dropFirst(6)))
        else { throw PoolMapError("no generation and phase") }
        var places = [Place?](repeating: nil, count: Self.slotCount)
        for line in sealed.lines.dropFirst(2) { try Self.read(line, into: &places) }
        let read = places.compactMap { $0 }
        try self.init(generation: generation, phase: phase, places: read)
    }

    private static func read(
        _ line: Substring,
        into places: inout [Place?]
    ) throws(PoolMapError) {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 4, words[0] == "slots", let owner = CacheNode(words[1]) else {
            throw PoolMapError("cannot read the line '\(line.prefix(80))'")
        }
        let source = words[2] == "-" ? nil : CacheNode(words[2])
        guard words[2] == "-" || source != nil, source != owner else {
            throw PoolMapError("'\(words[2])' is not a node to leave")
        }
        guard let slots = parsedRanges(words[3], below: slotCount) else {
            throw PoolMapError("'\(words[3].prefix(80))' are not ranges of slots")
        }
        for slot in slots {
            guard places[slot] == nil else { throw PoolMapError("slot \(slot) has two places") }
            places[slot] = (owner, source)
        }
    }
}
