import Glibc

/// One answer of the meta protocol.
struct MetaAnswer: Equatable {
    enum Code: Equatable {
        /// `VA`, with a value.
        case value
        /// `HD`: done.
        case done
        /// `EN`: nothing there.
        case absent
        /// `NF`: nothing there to change.
        case notFound
        /// `NS`: not stored, since something is there.
        case notStored
        /// `EX`: it has changed meanwhile.
        case exists
        /// `SERVER_ERROR`, which says nothing about what it answers.
        case refused
    }

    var code: Code
    /// What the command was numbered; nil for `refused` only.
    var opaque: UInt32?
    var flags: UInt32 = 0
    var unique: UInt64 = 0
    /// Whether this reader may load the value anew.
    var isWon = false
    var isStale = false
    var value: [UInt8] = []
}

/// What no memcached says; nothing that follows on the connection can be trusted.
struct MetaViolation: Error, Equatable {
    let reason: String
}

/// Cuts what a memcached sends into answers, wherever the pieces end.
struct MetaReader {
    /// An answer's line is shorter; a key has at most 250 bytes, and none is asked for.
    static let lineLimit = 512
    /// memcached's own limit.
    static let valueLimit = 1 << 20

    /// An unfinished line.
    private var line: [UInt8] = []
    /// The answer whose value is under way.
    private var open: MetaAnswer?
    /// How many bytes of it are missing, with its line end.
    private var missing = 0

    /// Gives each answer to `take`, until that is false; then the rest is dropped.
    mutating func read(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ take: (MetaAnswer) throws -> Bool
    ) throws {
        var at = 0
        while at < bytes.count {
            if open != nil {
                at += try readValue(UnsafeBufferPointer(rebasing: bytes[at...]))
                guard missing == 0, let answer = open.take() else { continue }
                guard try take(answer) else { return }
                continue
            }
            let rest = UnsafeBufferPointer(rebasing: bytes[at...])
            guard let length = Self.lineLength(rest) else {
                guard line.count + rest.count < Self.lineLimit else {
                    throw MetaViolation(reason: "a line without end")
                }
                line.append(contentsOf: rest)
                return
            }
            at += length + 1
            let answer = try readLine(UnsafeBufferPointer(rebasing: rest[..<length]))
            if open == nil, try !take(answer) { return }
        }
    }

    private static func lineLength(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        let base = bytes.baseAddress!
        guard let end = memchr(base, 0x0A, bytes.count) else { return nil }
        return UnsafeRawPointer(end) - UnsafeRawPointer(base)
    }

    // MARK: Values

    private mutating func readValue(_ bytes: UnsafeBufferPointer<UInt8>) throws -> Int {
        let taken = min(missing, bytes.count)
        let ofValue = min(taken, max(0, missing - 2))
        if open!.value.isEmpty { open!.value.reserveCapacity(missing) }
        open!.value.append(contentsOf: UnsafeBufferPointer(rebasing: bytes[..<ofValue]))
        for index in ofValue..<taken {
            let expected: UInt8 = missing - index == 2 ? 0x0D : 0x0A
            guard bytes[index] == expected else {
                throw MetaViolation(reason: "a value that does not end where it should")
            }
        }
        missing -= taken
        return taken
    }

    // MARK: Lines

    private mutating func readLine(_ bytes: UnsafeBufferPointer<UInt8>) throws -> MetaAnswer {
        guard line.isEmpty else {
            guard line.count + bytes.count < Self.lineLimit else {
                throw MetaViolation(reason: "a long line")
            }
            let whole = line + bytes
            line.removeAll(keepingCapacity: true)
            return try whole.withUnsafeBufferPointer { try parse($0) }
        }
        return try parse(bytes)
    }

    private mutating func parse(_ bytes: UnsafeBufferPointer<UInt8>) throws -> MetaAnswer {
        guard bytes.count >= 3, bytes.count <= Self.lineLimit, bytes[bytes.count - 1] == 0x0D else {
            throw MetaViolation(reason: "no answer")
        }
        var words = Words(bytes: UnsafeBufferPointer(rebasing: bytes[..<(bytes.count - 1)]))
        let first = words.next()!
        var answer = MetaAnswer(code: try code(first), opaque: nil)
        guard answer.code != .refused else { return answer }
        if answer.code == .value {
            guard let size = words.next().flatMap({ Self.number($0) }), size <= Self.valueLimit
            else { throw MetaViolation(reason: "a value without a size, or too large") }
            missing = Int(size) + 2
        }
        while let word = words.next() { try take(word, &answer) }
        guard answer.opaque != nil else { throw MetaViolation(reason: "an answer to nothing") }
        if answer.code == .value { open = answer }
        return answer
    }

    private func code(_ word: UnsafeBufferPointer<UInt8>) throws -> MetaAnswer.Code {
        if word.count == 2 {
            switch (word[0], word[1]) {
            case (UInt8(ascii: "V"), UInt8(ascii: "A")): return .value
            case (UInt8(ascii: "H"), UInt8(ascii: "D")): return .done
            case (UInt8(ascii: "E"), UInt8(ascii: "N")): return .absent
            case (UInt8(ascii: "N"), UInt8(ascii: "F")): return .notFound
            case (UInt8(ascii: "N"), UInt8(ascii: "S")): return .notStored
            case (UInt8(ascii: "E"), UInt8(ascii: "X")): return .exists
            default: break
            }
        }
        if word.elementsEqual("SERVER_ERROR".utf8) { return .refused }
        throw MetaViolation(reason: "no answer")
    }

    private func take(_ word: UnsafeBufferPointer<UInt8>, _ answer: inout MetaAnswer) throws {
        let token = UnsafeBufferPointer(rebasing: word[1...])
        switch word[0] {
        case UInt8(ascii: "O"):
            guard let number = Self.number(token), let opaque = UInt32(exactly: number) else {
                throw MetaViolation(reason: "a number that is none")
            }
            answer.opaque = opaque
        case UInt8(ascii: "f"):
            guard let number = Self.number(token), let flags = UInt32(exactly: number) else {
                throw MetaViolation(reason: "flags that are none")
            }
            answer.flags = flags
        case UInt8(ascii: "c"):
            guard let unique = Self.number(token) else {
                throw MetaViolation(reason: "a number that is none")
            }
            answer.unique = unique
        case UInt8(ascii: "W"): answer.isWon = true
        case UInt8(ascii: "X"): answer.isStale = true
        // `Z` says that another has won, which follows from there being no `W`.
        default: break
        }
    }

    private static func number(_ digits: UnsafeBufferPointer<UInt8>) -> UInt64? {
        guard !digits.isEmpty, digits.count <= 20 else { return nil }
        var number: UInt64 = 0
        for digit in digits {
            guard digit >= 0x30, digit <= 0x39 else { return nil }
            let (tens, over) = number.multipliedReportingOverflow(by: 10)
            let (sum, overAgain) = tens.addingReportingOverflow(UInt64(digit - 0x30))
            guard !over, !overAgain else { return nil }
            number = sum
        }
        return number
    }

    /// The words of a line; none of them is empty.
    private struct Words {
        let bytes: UnsafeBufferPointer<UInt8>
        var at = 0

        init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

        mutating func next() -> UnsafeBufferPointer<UInt8>? {
            while at < bytes.count, bytes[at] == 0x20 { at += 1 }
            guard at < bytes.count else { return nil }
            let start = at
            while at < bytes.count, bytes[at] != 0x20 { at += 1 }
            return UnsafeBufferPointer(rebasing: bytes[start..<at])
        }
    }
}
