/// The bounds of what may be uploaded, as the instance document tells them to clients.
package enum MediaLimits {
    /// Largest file.
    package static let imageBytes = 16 << 20

    /// Largest form around a file.
    package static let formBytes = imageBytes + 64 << 10

    /// Most pixels of a picture; looked up in its header, before anything is decoded.
    package static let imagePixels = 50_000_000

    /// Most pixels of all frames of an animation, and most frames.
    package static let animationPixels = 30_000_000
    package static let animationFrames = 1_000

    /// Longest description, in characters.
    package static let descriptionCharacters = 1_500

    /// How long decoding one picture may take.
    static let decodingSeconds: Int32 = 20

    /// The types that clients may offer.
    package static let mediaTypes = [
        "image/jpeg", "image/png", "image/webp", "image/gif", "image/heic", "image/heif",
        "image/avif",
    ]
}
