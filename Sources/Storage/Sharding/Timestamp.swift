import Glibc

/// A moment, as microseconds since the Unix epoch: PostgreSQL's resolution.
package struct Timestamp: Hashable, Comparable, Sendable {
    package let microseconds: Int64

    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    package init(milliseconds: Int64) {
        microseconds = milliseconds * 1_000
    }

    /// The wall clock. Logic that is decided as a value takes a timestamp instead of asking for it.
    package static var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000)
    }

    /// Whole milliseconds, rounded down.
    package var milliseconds: Int64 { floorDivide(microseconds, 1_000) }

    /// Whole seconds, rounded down.
    package var seconds: Int64 { floorDivide(microseconds, 1_000_000) }

    package static func < (a: Timestamp, b: Timestamp) -> Bool { a.microseconds < b.microseconds }

    package static func + (moment: Timestamp, duration: Duration) -> Timestamp {
        let (seconds, attoseconds) = duration.components
        return Timestamp(
            microseconds: moment.microseconds + seconds * 1_000_000
                + attoseconds / 1_000_000_000_000
        )
    }

    package static func - (moment: Timestamp, duration: Duration) -> Timestamp {
        moment + (.zero - duration)
    }

    package static func - (later: Timestamp, earlier: Timestamp) -> Duration {
        .microseconds(later.microseconds - earlier.microseconds)
    }
}

extension Timestamp: CustomStringConvertible {
    package var description: String { iso8601 }

    /// Such as `2026-11-21T12:00:00.000Z`: UTC, milliseconds, rounded down.
    package var iso8601: String {
        let milliseconds = self.milliseconds
        let day = floorDivide(milliseconds, 86_400_000)
        let inDay = milliseconds - day * 86_400_000
        let (year, month, date) = civil(fromDay: day)
        var text: [UInt8] = []
        text.reserveCapacity(24)
        append(min(max(year, 0), 9_999), digits: 4, to: &text)
        text.append(UInt8(ascii: "-"))
        append(month, digits: 2, to: &text)
        text.append(UInt8(ascii: "-"))
        append(date, digits: 2, to: &text)
        text.append(UInt8(ascii: "T"))
        append(inDay / 3_600_000, digits: 2, to: &text)
        text.append(UInt8(ascii: ":"))
        append(inDay / 60_000 % 60, digits: 2, to: &text)
        text.append(UInt8(ascii: ":"))
        append(inDay / 1_000 % 60, digits: 2, to: &text)
        text.append(UInt8(ascii: "."))
        append(inDay % 1_000, digits: 3, to: &text)
        text.append(UInt8(ascii: "Z"))
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`, years 1 to 9999; nil for anything else.
    package init?(iso8601 text: String) {
        var scanner = DigitScanner(text)
        guard
            let year = scanner.number(4), scanner.skip("-"),
            let month = scanner.number(2), scanner.skip("-"),
            let day = scanner.number(2), scanner.skip("T"),
            let hour = scanner.number(2), scanner.skip(":"),
            let minute = scanner.number(2), scanner.skip(":"),
            let second = scanner.number(2),
            let fraction = scanner.fraction(),
            let offset = scanner.zone(), scanner.isAtEnd,
            year >= 1, (1...12).contains(month), (1...daysIn(month, of: year)).contains(day),
            hour <= 23, minute <= 59, second <= 59
        else { return nil }
        let seconds = day64(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        self.init(microseconds: (seconds - offset) * 1_000_000 + fraction)
    }
}

private struct DigitScanner {
    private let bytes: [UInt8]
    private var index = 0

    init(_ text: String) { bytes = Array(text.utf8) }

    var isAtEnd: Bool { index == bytes.count }

    mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard index < bytes.count, bytes[index] == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }

    mutating func number(_ count: Int) -> Int64? {
        guard index + count <= bytes.count else { return nil }
        var value: Int64 = 0
        for byte in bytes[index..<index + count] {
            guard let digit = digit(byte) else { return nil }
            value = value * 10 + digit
        }
        index += count
        return value
    }

    /// Microseconds; digits past the sixth are dropped.
    mutating func fraction() -> Int64? {
        guard skip(".") else { return 0 }
        let start = index
        var value: Int64 = 0
        var scale: Int64 = 100_000
        while index < bytes.count, let digit = digit(bytes[index]) {
            value += digit * scale
            scale /= 10
            index += 1
        }
        return index > start ? value : nil
    }

    /// Seconds east of UTC.
    mutating func zone() -> Int64? {
        if skip("Z") { return 0 }
        let west = skip("-")
        guard west || skip("+"), let hours = number(2), skip(":"), let minutes = number(2),
            hours <= 23, minutes <= 59
        else { return nil }
        let east = hours * 3_600 + minutes * 60
        return west ? -east : east
    }

    private func digit(_ byte: UInt8) -> Int64? {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            ? Int64(byte - UInt8(ascii: "0")) : nil
    }
}

private func floorDivide(_ value: Int64, _ by: Int64) -> Int64 {
    value >= 0 ? value / by : -((by - 1 - value) / by)
}

private func append(_ value: Int64, digits: Int, to text: inout [UInt8]) {
    var divisor: Int64 = 1
    for _ in 1..<digits { divisor *= 10 }
    while divisor > 0 {
        text.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
        divisor /= 10
    }
}

private func daysIn(_ month: Int64, of year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counted in 400-year eras from March.
private func day64(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = floorDivide(shifted, 400)
    let yearOfEra = shifted - era * 400
    let monthFromMarch = month > 2 ? month - 3 : month + 9
    let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
}

private func civil(fromDay day: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = day + 719_468
    let era = floorDivide(shifted, 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra =
        (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
}
