package import Sharding

/// The copy of the map on a node's own disk, from which it starts when etcd is down.
///
/// The text's own checksum finds whatever may have gone wrong with it. Both calls block on the disk.
package struct MapFile: Sendable {
    package let path: String

    package init(path: String) {
        self.path = path
    }

    /// Why the copy cannot be used.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private var text: SavedText { SavedText(path: path, limitBytes: ShardMap.textLimit) }

    /// Nil when there is no copy yet.
    package func load() throws -> ShardMap? {
        do {
            return try text.load().map { try ShardMap(text: $0) }
        } catch let failure as SavedText.Failure {
            throw Failure(description: failure.description)
        } catch {
            throw Failure(description: "\(path): \(error)")
        }
    }

    package func save(_ map: ShardMap) throws {
        do {
            try text.save(map.text)
        } catch {
            throw Failure(description: error.description)
        }
    }
}
