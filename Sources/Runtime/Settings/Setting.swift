/// One thing that an operator can set: by flag, by environment, or in the file.
///
/// `postgres.password_file` is `--postgres-password-file`, `TESSERA_POSTGRES_PASSWORD_FILE`, and
/// `password_file` under `postgres` in YAML.
package struct Setting: Sendable {
    package enum Kind: Sendable, Equatable {
        case text
        case integer(ClosedRange<Int>)
        case flag
        case list
        case choice([String])
    }

    package let key: String
    package let kind: Kind
    /// As it would stand in the environment; nil for a setting that must be given.
    package let fallback: String?
    package let help: String

    package init(_ key: String, _ kind: Kind = .text, default fallback: String?, _ help: String) {
        self.key = key
        self.kind = kind
        self.fallback = fallback
        self.help = help
    }

    /// As an operator types it.
    package var flagName: String {
        "--" + key.map { $0 == "." || $0 == "_" ? "-" : String($0) }.joined()
    }

    package var environmentName: String {
        SettingValues.environmentPrefix
            + key.map { $0 == "." ? "_" : String($0) }.joined().uppercased()
    }

    /// As swift-configuration's reader of flags knows it, which leaves underscores as they are.
    var providerFlagName: String {
        "--" + key.map { $0 == "." ? "-" : String($0) }.joined()
    }
}

/// Why a process cannot start with what it was told; one line that says what to do.
package struct SettingsError: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
