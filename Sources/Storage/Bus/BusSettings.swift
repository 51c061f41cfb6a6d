import Settings

/// Where the bus is, and how patient its clients are.
package struct BusSettings: Sendable {
    package var host: String
    package var port: Int
    package var user: String?
    package var password: String?

    /// How long an opening may take, from the first packet to the server's answer.
    package var connectTimeout = Duration.seconds(2)
    /// How often the server is asked whether it is there, and after how much silence it is given up.
    package var pingInterval = Duration.seconds(2)
    package var silence = Duration.seconds(5)
    /// Pauses between two attempts, doubling from the first to the second.
    package var firstPause = Duration.milliseconds(100)
    package var longestPause = Duration.seconds(2)
    /// Bytes that wait for the server; what would pass it is dropped.
    package var queueBytes = 1 << 20

    package init(host: String, port: Int, user: String? = nil, password: String? = nil) {
        self.host = host
        self.port = port
        self.user = user
        self.password = password
    }

    /// What `bus.address`, `bus.user` and `bus.password_file` say; nil without an address.
    package init?(_ values: SettingValues) throws(SettingsError) {
        let address = values.text("bus.address")
        guard !address.isEmpty else { return nil }
        guard let colon = address.lastIndex(of: ":"), colon > address.startIndex,
            let port = Int(address[address.index(after: colon)...]), (1...65_535).contains(port)
        else { throw SettingsError("bus.address \(address): is not host:port") }
        let user = values.text("bus.user")
        self.init(
            host: String(address[..<colon]),
            port: port,
            user: user.isEmpty ? nil : user,
            password: try SecretFile.password(values.text("bus.password_file"))
        )
    }
}
