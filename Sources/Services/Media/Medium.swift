import Contracts
import Crypto
import Objects

/// The state of a medium: it only goes forward.
enum MediumState: Int16, Sendable {
    case pending = 0
    case ready = 1
    case attached = 2
    case deleted = 3
}

/// What a medium is for, as its row says it.
enum MediumUse: Int16, Sendable {
    case post = 0
    case avatar = 1
    case header = 2

    init(_ use: ImageUse) {
        switch use {
        case .avatar: self = .avatar
        case .header: self = .header
        }
    }
}

/// The public name of a medium: 128 random bits, and the generation of who may see it.
///
/// Nothing of the file or its owner is in it. Whoever has the name may read the files; going private or deleting
/// raises the generation or takes the files away, and the old name ends.
struct MediumName: Sendable, Equatable {
    static let digits = 32

    let random: String
    var generation = 1

    /// A name that nobody has had.
    static func fresh() -> MediumName {
        let bytes = SecureRandom.bytes(digits / 2)
        let text = bytes.map { byte in
            let text = String(byte, radix: 16)
            return byte < 16 ? "0" + text : text
        }
        return MediumName(random: text.joined())
    }

    init(random: String, generation: Int = 1) {
        self.random = random
        self.generation = generation
    }

    /// Reads `<random>-<generation>`.
    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.count == MediumName.digits,
            parts[0].utf8.allSatisfy({ ("0"..."9").contains($0) || ("a"..."f").contains($0) }),
            let generation = Int32(parts[1]), generation > 0, String(generation) == parts[1]
        else { return nil }
        self.init(random: String(parts[0]), generation: Int(generation))
    }

    var text: String { "\(random)-\(generation)" }

    /// The object that holds one of its files; nil for what can be no file of a medium.
    func object(_ file: String) -> ObjectName? {
        let parts = file.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, MediumName.variants.contains(String(parts[0])),
            ImageFormat.contentTypes[String(parts[1])] != nil
        else { return nil }
        return ObjectName("media/\(text)/\(file)")
    }

    /// Every object that could be there, whatever was stored.
    var objects: [ObjectName] {
        MediumName.variants.flatMap { variant in
            ImageFormat.contentTypes.keys.sorted().compactMap { object("\(variant).\($0)") }
        }
    }

    static let variants = ["original", "small", "thumbnail", "avatar", "header"]
}

extension ClosedRange<Unicode.Scalar> {
    /// Whether the byte is an ASCII character of the range.
    fileprivate func contains(_ byte: UInt8) -> Bool { contains(Unicode.Scalar(byte)) }
}
