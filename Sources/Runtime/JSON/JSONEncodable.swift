/// A value that writes itself as JSON.
@usableFromInline
package protocol JSONEncodable {
    /// Writes exactly one JSON value.
    func write(to json: inout JSONWriter)
}

extension JSONEncodable {
    /// The value alone, as JSON text.
    package var jsonBytes: [UInt8] {
        var json = JSONWriter()
        write(to: &json)
        return json.bytes
    }
}

extension String: JSONEncodable {
    @inlinable
    package func write(to json: inout JSONWriter) { json.string(self) }
}

extension Bool: JSONEncodable {
    @inlinable
    package func write(to json: inout JSONWriter) { json.bool(self) }
}

extension Int: JSONEncodable {
    @inlinable
    package func write(to json: inout JSONWriter) { json.int(self) }
}

extension Int16: JSONEncodable {
    @inlinable
    package func write(to json: inout JSONWriter) { json.int(self) }
}

extension Int32: JSONEncodable {
    @inlinable
    package func write(to json: inout JSONWriter) { json.int(self) }
}

extension Int64: JSONEncodable {
    @inlinable
    package func write(to json: inout JSONWriter) { json.int(self) }
}

extension Double: JSONEncodable {
    @inlinable
    package func write(to json: inout JSONWriter) { json.double(self) }
}

extension Optional: JSONEncodable where Wrapped: JSONEncodable {
    @inlinable
    package func write(to json: inout JSONWriter) {
        if let self { self.write(to: &json) } else { json.null() }
    }
}

extension Array: JSONEncodable where Element: JSONEncodable {
    @inlinable
    package func write(to json: inout JSONWriter) { json.array(self) }
}
