import Glibc
import Settings
import Testing

@Suite struct `Settings of a process` {
    private let table = [
        Setting("http.port", .integer(0...65_535), default: "8080", "A port."),
        Setting("postgres.password_file", default: "", "A file."),
        Setting("cache.object", .list, default: "", "Nodes."),
        Setting("open", .flag, default: "false", "A flag."),
        Setting("needed", default: nil, "Must be set."),
    ]

    private func file(_ text: String) throws -> String {
        var path = Array("/tmp/settings-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        try #require(write(descriptor, bytes, bytes.count) == bytes.count)
        return String(decoding: path.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    @Test func `flags win over the environment, which wins over the file`() async throws {
        let path = try file(
            """
            # a comment
            http:
              port: 1111
            postgres:
              password_file: /from/file
            needed: "here"
            cache:
              object: ["a:1", "b:2"]
            """
        )
        defer { unlink(path) }

        let values = try await SettingValues.load(
            table,
            arguments: ["--config", path, "--http-port=3333", "--open"],
            environment: [
                "TESSERA_HTTP_PORT": "2222", "TESSERA_POSTGRES_PASSWORD_FILE": "/from/environment",
            ]
        )

        #expect(values.integer("http.port") == 3333)
        #expect(values.text("postgres.password_file") == "/from/environment")
        #expect(values.text("needed") == "here")
        #expect(values.list("cache.object") == ["a:1", "b:2"])
        #expect(values.flag("open"))
    }

    @Test func `numbers and flags of the file are read as such`() async throws {
        let path = try file("http:\n  port: 1111\nopen: true\nneeded: x\n")
        defer { unlink(path) }

        let values = try await SettingValues.load(
            table,
            arguments: [],
            environment: ["TESSERA_CONFIG": path]
        )

        #expect(values.integer("http.port") == 1111)
        #expect(values.flag("open"))
        #expect(values.list("cache.object").isEmpty)
    }

    @Test(arguments: [
        (
            ["--http-prot", "1", "--needed", "x"],
            "unknown flag --http-prot; --help lists all flags"
        ),
        (["--needed"], "--needed needs a value"),
        (
            ["--http-port", "1"],
            "needed is not set: give --needed, TESSERA_NEEDED or needed in the file"
        ),
        (
            ["--needed", "x", "--http-port", "70000"],
            "http.port must be a number from 0 to 65535, not \"70000\""
        ),
        (["--needed", "x", "--open", "perhaps"], "open must be true or false, not \"perhaps\""),
    ])
    func `a mistake is one line that says what to do`(
        arguments: [String],
        message: String
    ) async throws {
        let error = await #expect(throws: SettingsError.self) {
            try await SettingValues.load(table, arguments: arguments, environment: [:])
        }

        #expect(error?.description == message)
    }

    @Test func `an unknown key in the file is refused with its line`() async throws {
        let path = try file("needed: x\nhttp:\n  # port\n  prot: 1\n")
        defer { unlink(path) }

        let error = await #expect(throws: SettingsError.self) {
            try await SettingValues.load(table, arguments: ["--config", path], environment: [:])
        }

        #expect(error?.description == "\(path):4: unknown setting http.prot; --help lists all")
    }
}
