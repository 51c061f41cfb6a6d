import Etcd
import Sharding
import TestSupport
import Testing

struct MapFileTests {
    @Test func `a saved map is loaded, and replaced by a newer one`() throws {
        try withFile { file in
            var map = try aMap()
            #expect(try file.load() == nil)

            try file.save(map)
            #expect(try file.load() == map)
            map.generation = 2
            try file.save(map)

            #expect(try file.load() == map)
        }
    }

    @Test func `a copy that was cut off while it was written is not taken`() throws {
        try withFile { file in
            let map = try aMap()
            try file.save(map)

            // A crash before the rename leaves the old copy in its place.
            try writeText("tessera-map 1\ngener", to: "\(file.path).new")
            #expect(try file.load() == map)
            try writeText(String(map.text.prefix(100)), to: file.path)

            #expect(throws: MapFile.Failure.self) { try file.load() }
        }
    }

    @Test func `a folder that is not there is said so`() throws {
        let file = MapFile(path: "/nowhere/map")

        #expect(try file.load() == nil)
        #expect(throws: MapFile.Failure.self) { try file.save(aMap()) }
    }

    private func aMap() throws -> ShardMap {
        try Placement.firstMap(shards: [
            ShardRecord(id: ShardID("s1")!, members: [.init(host: "127.0.0.1", port: 1)])
        ])
    }

    private func withFile(_ body: (MapFile) throws -> Void) throws {
        let folder = try makeFolder()
        defer { removeFolder(folder) }
        try body(MapFile(path: "\(folder)/map"))
    }
}
