import Glibc

/// Who follows whom among the users 0 ..< `users`, without self loops or repeats.
struct SocialGraph: Sendable, Equatable {
    var users: Int
    /// For each user, whom they follow, in the order of the input.
    var following: [[Int]]

    var follows: Int { following.reduce(0) { $0 + $1.count } }

    /// Reads an edge list: two user numbers a line, an undirected friendship, thus two follows.
    ///
    /// Empty lines and lines that begin with `#` are skipped; numbers need not be dense.
    init(edgeList text: String) throws(InvalidGraph) {
        var numbers: [Int: Int] = [:]
        var edges: [(Int, Int)] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            guard !line.isEmpty, !line.hasPrefix("#") else { continue }
            let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "," })
            guard fields.count >= 2, let a = Int(fields[0]), let b = Int(fields[1]) else {
                throw InvalidGraph(line: index + 1)
            }
            edges.append((a, b))
        }
        for id in Set(edges.flatMap { [$0.0, $0.1] }).sorted() { numbers[id] = numbers.count }
        self.init(users: numbers.count)
        var seen: Set<[Int]> = []
        for (a, b) in edges where a != b {
            for (from, to) in [(numbers[a]!, numbers[b]!), (numbers[b]!, numbers[a]!)]
            where seen.insert([from, to]).inserted {
                following[from].append(to)
            }
        }
    }

    /// Draws a directed graph whose in-degrees follow a power law: user 0 is the celebrity.
    init(users: Int, averageFollows: Int, exponent: Double, seed: UInt64) {
        self.init(users: users)
        var random = SplitMix64(seed: seed)
        let ranks = ZipfRanks(count: users, exponent: exponent)
        for user in 0..<users {
            var chosen: Set<Int> = []
            let wanted = min(
                users - 1,
                Int.random(in: 1...(2 * averageFollows - 1), using: &random)
            )
            var attempts = 0
            while chosen.count < wanted && attempts < wanted * 20 {
                attempts += 1
                let target = ranks.draw(using: &random)
                guard target != user, chosen.insert(target).inserted else { continue }
                following[user].append(target)
            }
        }
    }

    private init(users: Int) {
        self.users = users
        following = Array(repeating: [], count: users)
    }

    struct InvalidGraph: Error, CustomStringConvertible {
        var line: Int
        var description: String { "line \(line) of the graph is not two user numbers" }
    }
}

/// Draws ranks 0 ..< count with a probability that falls as 1 / (rank + 1)^exponent.
private struct ZipfRanks {
    private let cumulative: [Double]

    init(count: Int, exponent: Double) {
        var sum = 0.0
        cumulative = (0..<count).map { rank in
            sum += pow(Double(rank + 1), -exponent)
            return sum
        }
    }

    func draw(using random: inout SplitMix64) -> Int {
        let point = Double.random(in: 0..<cumulative[cumulative.count - 1], using: &random)
        var low = 0
        var high = cumulative.count - 1
        while low < high {
            let middle = (low + high) / 2
            if cumulative[middle] > point { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// A small generator whose sequence depends on the seed alone (Steele, Lea, Flood 2014).
struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
