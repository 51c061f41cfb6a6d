internal import HTTP

/// Where an application takes its codes.
package enum RedirectURI {
    /// Shows the code to the user instead of sending it anywhere.
    package static let outOfBand = "urn:ietf:wg:oauth:2.0:oob"

    package static let limitBytes = 2_000

    /// Schemes that would make a browser run or open what an application wrote.
    private static let refusedSchemes: Set<String> = [
        "about", "blob", "chrome", "data", "file", "filesystem", "ftp", "javascript", "mailto",
        "vbscript", "view-source", "ws", "wss",
    ]

    /// Whether an application may register this address.
    ///
    /// An absolute address without a fragment, of printable ASCII; one of `http` and `https` names a host.
    package static func isAcceptable(_ uri: String) -> Bool {
        if uri == outOfBand { return true }
        guard uri.utf8.count <= limitBytes, uri.utf8.allSatisfy(isPlain),
            let colon = uri.firstIndex(of: ":")
        else { return false }
        let scheme = uri[..<colon].lowercased()
        let rest = uri[uri.index(after: colon)...]
        guard isScheme(scheme), !refusedSchemes.contains(scheme), scheme != "urn" else {
            return false
        }
        guard scheme == "http" || scheme == "https" else { return !rest.isEmpty }
        guard rest.hasPrefix("//") else { return false }
        let authority = rest.dropFirst(2).prefix { $0 != "/" && $0 != "?" }
        // A name and password in front of the host only ever deceive the reader.
        return !authority.isEmpty && !authority.contains("@")
    }

    /// The address with the parameters added to its query.
    package static func adding(_ parameters: [(String, String)], to uri: String) -> String {
        let query = parameters.map { "\($0.0)=\(PercentEncoding.encode($0.1))" }
            .joined(separator: "&")
        return uri + (uri.contains("?") ? "&" : "?") + query
    }

    /// What a page's `form-action` must allow, so that a form on it may lead there.
    package static func formAction(of uri: String) -> String? {
        guard uri != outOfBand, let colon = uri.firstIndex(of: ":") else { return nil }
        let scheme = uri[..<colon].lowercased()
        guard scheme == "http" || scheme == "https" else { return "\(scheme):" }
        let authority = uri[uri.index(after: colon)...].dropFirst(2)
            .prefix { $0 != "/" && $0 != "?" }
        let isOrigin = authority.utf8.allSatisfy { byte in
            byte != UInt8(ascii: ";") && byte != UInt8(ascii: ",") && byte != UInt8(ascii: "'")
        }
        return isOrigin ? "\(scheme)://\(authority)" : nil
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7F && !"\"#<>\\^`{|}".utf8.contains(byte)
    }

    private static func isScheme(_ text: String) -> Bool {
        guard let first = text.first, first.isLetter, first.isASCII else { return false }
        return text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "+-.".contains($0)) }
    }
}
