import Glibc

/// A picture in about thirty characters, which clients blur into a background until the photo has come.
///
/// The picture is written as a sum of cosines (blurha.sh): the mean colour, then the other components, each
/// channel in 19 steps relative to the largest.
enum BlurHash {
    private static let digits = Array(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~".utf8
    )

    private static let linear: [Double] = (0..<256).map { value in
        let part = Double(value) / 255
        return part <= 0.04045 ? part / 12.92 : pow((part + 0.055) / 1.055, 2.4)
    }

    private struct Colour {
        var red = 0.0
        var green = 0.0
        var blue = 0.0

        var channels: [Double] { [red, green, blue] }
    }

    /// Encodes rows of RGB bytes. A small picture is enough: the components are few.
    static func encode(
        rgb: [UInt8],
        width: Int,
        height: Int,
        components: (x: Int, y: Int) = (4, 3)
    ) -> String {
        precondition(rgb.count == width * height * 3 && width > 0 && height > 0)
        precondition((1...9).contains(components.x) && (1...9).contains(components.y))
        var colours: [Colour] = []
        for y in 0..<components.y {
            for x in 0..<components.x {
                colours.append(component(rgb, width, height, x, y))
            }
        }
        let rest = colours.dropFirst()

        var text: [UInt8] = []
        append(components.x - 1 + (components.y - 1) * 9, digits: 1, to: &text)
        let largest = rest.flatMap(\.channels).map(abs).max()
        let step = largest.map { max(0, min(82, Int(($0 * 166 - 0.5).rounded(.down)))) }
        append(step ?? 0, digits: 1, to: &text)
        append(mean(colours[0]), digits: 4, to: &text)
        let scale = step.map { Double($0 + 1) / 166 } ?? 1
        for colour in rest { append(deviation(colour, scale), digits: 2, to: &text) }
        return String(decoding: text, as: UTF8.self)
    }

    /// How much of the cosine with `x` and `y` half-waves is in the picture, in linear light.
    private static func component(
        _ rgb: [UInt8],
        _ width: Int,
        _ height: Int,
        _ x: Int,
        _ y: Int
    ) -> Colour {
        let columns = (0..<width).map { cos(.pi * Double(x * $0) / Double(width)) }
        var sum = Colour()
        var index = 0
        for row in 0..<height {
            let rowFactor = cos(.pi * Double(y * row) / Double(height))
            for column in 0..<width {
                let factor = rowFactor * columns[column]
                sum.red += factor * linear[Int(rgb[index])]
                sum.green += factor * linear[Int(rgb[index + 1])]
                sum.blue += factor * linear[Int(rgb[index + 2])]
                index += 3
            }
        }
        let scale = (x == 0 && y == 0 ? 1.0 : 2.0) / Double(width * height)
        return Colour(red: sum.red * scale, green: sum.green * scale, blue: sum.blue * scale)
    }

    private static func mean(_ colour: Colour) -> Int {
        colour.channels.reduce(0) { $0 << 8 | displayed($1) }
    }

    /// From linear light to the sRGB value of 0 to 255.
    private static func displayed(_ light: Double) -> Int {
        let light = max(0, min(1, light))
        let part = light <= 0.0031308 ? light * 12.92 : 1.055 * pow(light, 1 / 2.4) - 0.055
        return Int(part * 255 + 0.5)
    }

    private static func deviation(_ colour: Colour, _ scale: Double) -> Int {
        colour.channels.reduce(0) { sum, channel in
            let part = channel / scale
            let root = part < 0 ? -(-part).squareRoot() : part.squareRoot()
            return sum * 19 + max(0, min(18, Int((root * 9 + 9.5).rounded(.down))))
        }
    }

    private static func append(_ value: Int, digits count: Int, to text: inout [UInt8]) {
        var divisor = 1
        for _ in 1..<count { divisor *= 83 }
        while divisor > 0 {
            text.append(digits[value / divisor % 83])
            divisor /= 83
        }
    }
}
