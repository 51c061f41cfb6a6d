/// The parts of a path that matched `:name` and `*name` of a route's pattern, percent-decoded.
///
/// A decoded value may hold any character, `/` and `..` among them: it is data, not a path.
package struct PathParameters: Sendable, Equatable {
    private var names: [String] = []
    private var values: [String] = []

    package init() {}

    package subscript(_ name: String) -> String? {
        names.firstIndex(of: name).map { values[$0] }
    }

    mutating func add(_ name: String, _ value: String) {
        names.append(name)
        values.append(value)
    }
}
