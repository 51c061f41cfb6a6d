import Contracts
import ServiceKit

/// What clients say about a photo.
enum MediaInput {
    static func description(_ text: String) throws(ServiceError) -> String {
        guard text.count <= MediaLimits.descriptionCharacters else {
            throw .invalid(
                "Description is too long (maximum is \(MediaLimits.descriptionCharacters) characters)"
            )
        }
        guard !text.utf8.contains(0) else { throw .invalid("Description has a zero byte") }
        return text
    }

    /// Reads `x,y`, each from −1 to 1; numbers outside are moved to the edge.
    static func focus(_ text: String) throws(ServiceError) -> MediaAttachmentEntity.Focus? {
        guard !text.isEmpty else { return nil }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map {
            Double($0.drop { $0 == " " })
        }
        guard parts.count == 2, let x = parts[0], let y = parts[1], x.isFinite, y.isFinite else {
            throw .invalid("Focus must be two numbers between -1 and 1, divided by a comma")
        }
        return .init(x: max(-1, min(1, x)), y: max(-1, min(1, y)))
    }
}
