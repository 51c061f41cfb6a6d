import CUtf8proc
import Glibc

/// How names are compared: after NFKC, without case.
///
/// Wide letters, ligatures, letter-like symbols and invisible characters become what they look like, so that
/// two names which NFKC cannot tell apart are one name.
package enum NameFolding {
    /// Longer texts are refused before any work is done.
    package static let limitBytes = 1_024

    /// The text in NFKC without invisible characters, its case kept; nil for a text that is too long or holds
    /// characters which Unicode has not assigned.
    package static func compatible(_ text: String) -> String? {
        map(text, flags: compatibility)
    }

    /// The text in NFKC, case-folded: equal for names that are the same name.
    package static func folded(_ text: String) -> String? {
        map(text, flags: compatibility | UTF8PROC_CASEFOLD.rawValue)
    }

    private static let compatibility =
        UTF8PROC_STABLE.rawValue | UTF8PROC_COMPOSE.rawValue | UTF8PROC_COMPAT.rawValue
        | UTF8PROC_IGNORE.rawValue | UTF8PROC_REJECTNA.rawValue

    private static func map(_ text: String, flags: UInt32) -> String? {
        guard text.utf8.count <= limitBytes else { return nil }
        let bytes = Array(text.utf8)
        var result: UnsafeMutablePointer<UInt8>?
        let count = utf8proc_map(
            bytes,
            bytes.count,
            &result,
            utf8proc_option_t(rawValue: flags)
        )
        // utf8proc allocates the result with malloc, also for an empty one.
        defer { free(result) }
        guard count >= 0, let result else { return nil }
        return String(decoding: UnsafeBufferPointer(start: result, count: count), as: UTF8.self)
    }
}
