import Configuration
import SystemPackage

/// The settings of a process: flags over environment over file over default.
package struct SettingValues: Sendable {
    package static let environmentPrefix = "TESSERA_"

    /// What the process was asked to do instead of running.
    package enum Request: Sendable, Equatable {
        case run
        case printConfig
        case help
    }

    package let request: Request
    private let settings: [Setting]
    private let reader: ConfigReader

    /// Reads all layers; `arguments` are without the program's name.
    ///
    /// The file is the one that `--config` or `TESSERA_CONFIG` names; without either there is none.
    package static func load(
        _ settings: [Setting],
        arguments: [String],
        environment: [String: String]
    ) async throws -> SettingValues {
        var arguments = try ArgumentReader(settings).read(arguments)
        let path = arguments.file ?? environment[environmentPrefix + "CONFIG"]
        arguments.file = path
        var layers: [any ConfigProvider] = [
            CommandLineArgumentsProvider(arguments: ["tessera"] + arguments.flags),
            EnvironmentVariablesProvider(environmentVariables: stripped(environment)),
        ]
        if let path {
            do {
                layers.append(try await FileProvider<YAMLSnapshot>(filePath: FilePath(path)))
            } catch {
                throw SettingsError("\(path): cannot be read as YAML settings: \(error)")
            }
            try FileKeys(path: path).check(against: settings)
        }
        let values = SettingValues(
            request: arguments.request,
            settings: settings,
            reader: ConfigReader(providers: layers)
        )
        if arguments.request != .help { try values.checkAll() }
        return values
    }

    private static func stripped(_ environment: [String: String]) -> [String: String] {
        var stripped: [String: String] = [:]
        for (name, value) in environment where name.hasPrefix(environmentPrefix) {
            stripped[String(name.dropFirst(environmentPrefix.count))] = value
        }
        return stripped
    }

    // MARK: Reading

    package func text(_ key: String) -> String { raw(key) ?? "" }

    package func integer(_ key: String) -> Int { Int(text(key)) ?? 0 }

    package func flag(_ key: String) -> Bool { Self.bool(text(key)) ?? false }

    /// A list: in YAML a sequence, elsewhere separated by commas.
    package func list(_ key: String) -> [String] {
        if let fromFile = reader.stringArray(forKey: ConfigKey(key)) { return fromFile }
        return text(key).split(separator: ",").map(String.init)
    }

    private func raw(_ key: String) -> String? {
        let setting = settings.first { $0.key == key }
        precondition(setting != nil, "no setting \(key)")
        return scalar(key) ?? setting?.fallback
    }

    /// A YAML file knows types: a number or a flag there is not a string to the reader.
    private func scalar(_ key: String) -> String? {
        let key = ConfigKey(key)
        if let text = reader.string(forKey: key) { return text }
        if let number = reader.int(forKey: key) { return String(number) }
        if let flag = reader.bool(forKey: key) { return String(flag) }
        return nil
    }

    private static func bool(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "true", "yes", "1", "on": true
        case "false", "no", "0", "off": false
        default: nil
        }
    }

    // MARK: Checking and showing

    private func checkAll() throws(SettingsError) {
        for setting in settings {
            let text = setting.kind == .list ? list(setting.key).first : raw(setting.key)
            guard let text else {
                if setting.kind == .list && setting.fallback != nil { continue }
                throw SettingsError(
                    "\(setting.key) is not set: give \(setting.flagName), "
                        + "\(setting.environmentName) or \(setting.key) in the file"
                )
            }
            try check(setting, text)
        }
    }

    private func check(_ setting: Setting, _ text: String) throws(SettingsError) {
        switch setting.kind {
        case .text, .list: break
        case .integer(let range):
            guard let number = Int(text), range.contains(number) else {
                throw SettingsError(
                    "\(setting.key) must be a number from \(range.lowerBound) to "
                        + "\(range.upperBound), not \"\(text)\""
                )
            }
        case .flag:
            guard Self.bool(text) != nil else {
                throw SettingsError("\(setting.key) must be true or false, not \"\(text)\"")
            }
        case .choice(let choices):
            guard choices.contains(text) else {
                throw SettingsError(
                    "\(setting.key) must be one of \(choices.joined(separator: ", ")), "
                        + "not \"\(text)\""
                )
            }
        }
    }

    /// All settings as they are, one `key: value` a line; secrets are in files and so not here.
    package var printed: String {
        settings.map { setting in
            let value =
                setting.kind == .list
                ? "[" + list(setting.key).map { "\"\($0)\"" }.joined(separator: ", ") + "]"
                : setting.kind == .text ? "\"\(text(setting.key))\"" : text(setting.key)
            return "\(setting.key): \(value)\n"
        }.joined()
    }

    /// What `--help` shows.
    package func help(program: String, summary: String) -> String {
        var lines = [
            "\(program): \(summary)", "",
            "  --config FILE: YAML settings (or \(Self.environmentPrefix)CONFIG)",
            "  --print-config: show the settings in effect and end", "",
            "Flags win over the environment, the environment over the file:", "",
        ]
        for setting in settings {
            lines.append("  \(setting.flagName), \(setting.environmentName)")
            let fallback = setting.fallback.map { $0.isEmpty ? "" : " (default \($0))" }
            lines.append("      \(setting.help)\(fallback ?? " (must be set)")")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// Sorts a command line into flags that swift-configuration reads and the few that we act on.
struct ArgumentReader {
    struct Result {
        var flags: [String] = []
        var file: String?
        var request = SettingValues.Request.run
    }

    private let byName: [String: Setting]

    init(_ settings: [Setting]) {
        byName = Dictionary(settings.map { ($0.flagName, $0) }) { first, _ in first }
    }

    func read(_ arguments: [String]) throws(SettingsError) -> Result {
        var result = Result()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
            switch parts.first {
            case "--help", "-h": result.request = .help
            case "--print-config": result.request = .printConfig
            case "--config": result.file = try value(parts, &rest)
            case let name?:
                guard let setting = byName[name] else {
                    throw SettingsError("unknown flag \(name); --help lists all flags")
                }
                result.flags.append(setting.providerFlagName)
                let isBareFlag =
                    setting.kind == .flag && parts.count == 1
                    && rest.first?.hasPrefix("--") != false
                result.flags.append(isBareFlag ? "true" : try value(parts, &rest))
            case nil: throw SettingsError("an empty argument means nothing")
            }
        }
        return result
    }

    private func value(
        _ parts: [String],
        _ rest: inout ArraySlice<String>
    ) throws(SettingsError) -> String {
        if parts.count == 2 { return parts[1] }
        guard let value = rest.popFirst() else {
            throw SettingsError("\(parts[0]) needs a value")
        }
        return value
    }
}
