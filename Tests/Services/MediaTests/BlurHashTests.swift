import Testing

@testable import Media

/// Against values computed by another implementation (PyPI blurhash 1.1.4) from the same pixels.
struct BlurHashTests {
    private func picture(
        _ width: Int,
        _ height: Int,
        _ pixel: (_ x: Int, _ y: Int) -> [UInt8]
    ) -> [UInt8] {
        (0..<height).flatMap { y in (0..<width).flatMap { x in pixel(x, y) } }
    }

    private var gradient: [UInt8] {
        picture(32, 24) { x, y in
            [x * 8, y * 10, x * y].map { UInt8(truncatingIfNeeded: $0) }
        }
    }

    @Test func `a gradient`() {
        let hash = BlurHash.encode(rgb: gradient, width: 32, height: 24)

        #expect(hash == "LxH27h2lwtX3mAWUjwfAgFfmfTfi")
    }

    @Test func `one component is the mean colour`() {
        let hash = BlurHash.encode(rgb: gradient, width: 32, height: 24, components: (1, 1))

        #expect(hash == "00H27h")
    }

    @Test func `all components`() {
        let hash = BlurHash.encode(rgb: gradient, width: 32, height: 24, components: (9, 9))

        #expect(
            hash
                == "|xH27h2lwtX3a^ofWroeWnmAWUjwfAfTf6fNf8fRgFfmfTfifNfifTfjfPn$WsjsfNfTfTfOfPfQe-f"
                + "TfNfTfSfNfSfRfRofWojrfTfNfSfSfOfPe?fNfTfOfSfSfOfRfPoeWpjufPfRfOfQfRfSeofRfPfQfRfPfPfRfO"
        )
    }

    @Test func `black, white and a chessboard`() {
        let black = picture(4, 4) { _, _ in [0, 0, 0] }
        let white = picture(5, 3) { _, _ in [255, 255, 255] }
        let board = picture(16, 16) { x, y in
            (x / 4 + y / 4) % 2 == 1 ? [255, 0, 0] : [0, 0, 255]
        }

        #expect(
            BlurHash.encode(rgb: black, width: 4, height: 4) == "L00000fQfQfQfQfQfQfQfQfQfQfQ"
        )
        #expect(
            BlurHash.encode(rgb: white, width: 5, height: 3) == "L~TSUA_3fQ_3~q%MfQ%MfQfQfQfQ"
        )
        #expect(
            BlurHash.encode(rgb: board, width: 16, height: 16, components: (5, 4))
                == "VfLjfLw$fQw$fQw$JqfQFPJqfQfQfQfQfQw$FPfQ2NFO"
        )
    }
}
