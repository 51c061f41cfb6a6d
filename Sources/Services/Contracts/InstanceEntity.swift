import JSON

/// What this server is and allows: instance v2, and v1 for older clients.
///
/// The limits are those that the services enforce; the role hands them in.
package struct InstanceEntity: Sendable {
    package struct Limits: Sendable {
        package var statusCharacters: Int
        package var attachments: Int
        package var charactersPerURL: Int
        package var mediaTypes: [String]
        package var imageBytes: Int
        package var imagePixels: Int
        package var descriptionCharacters: Int
        package var pinnedStatuses: Int
        package var displayNameCharacters: Int
        package var noteCharacters: Int
        package var profileFields: Int
        package var polls: PollLimits

        package init(
            statusCharacters: Int = 500,
            attachments: Int = 10,
            charactersPerURL: Int = 23,
            mediaTypes: [String],
            imageBytes: Int,
            imagePixels: Int,
            descriptionCharacters: Int = 1_500,
            pinnedStatuses: Int = 5,
            displayNameCharacters: Int = 30,
            noteCharacters: Int = 500,
            profileFields: Int = 4,
            polls: PollLimits = PollLimits(
                options: 4,
                optionCharacters: 50,
                leastSeconds: 300,
                mostSeconds: 2_629_746
            )
        ) {
            self.statusCharacters = statusCharacters
            self.attachments = attachments
            self.charactersPerURL = charactersPerURL
            self.mediaTypes = mediaTypes
            self.imageBytes = imageBytes
            self.imagePixels = imagePixels
            self.descriptionCharacters = descriptionCharacters
            self.pinnedStatuses = pinnedStatuses
            self.displayNameCharacters = displayNameCharacters
            self.noteCharacters = noteCharacters
            self.profileFields = profileFields
            self.polls = polls
        }
    }

    package struct PollLimits: Sendable {
        package var options: Int
        package var optionCharacters: Int
        package var leastSeconds: Int
        package var mostSeconds: Int

        package init(options: Int, optionCharacters: Int, leastSeconds: Int, mostSeconds: Int) {
            self.options = options
            self.optionCharacters = optionCharacters
            self.leastSeconds = leastSeconds
            self.mostSeconds = mostSeconds
        }
    }

    /// Host and port, as clients put them behind `@name@`.
    package var domain: String
    /// Where clients reach this server, without a final slash.
    package var baseURL: String
    package var title: String
    package var version: String
    package var summary: String
    package var sourceURL: String
    package var email: String
    package var contact: AccountEntity?
    package var openSignUp: Bool
    package var limits: Limits
    package var userCount: Int
    package var activeUserCount: Int
    package var statusCount: Int

    package init(
        domain: String,
        baseURL: String,
        title: String = "Tessera",
        version: String = "4.5.0 (compatible; Tessera \(Self.softwareVersion))",
        summary: String = "A photo and video network.",
        sourceURL: String = "",
        email: String = "",
        contact: AccountEntity? = nil,
        openSignUp: Bool,
        limits: Limits,
        userCount: Int = 0,
        activeUserCount: Int = 0,
        statusCount: Int = 0
    ) {
        self.domain = domain
        self.baseURL = baseURL
        self.title = title
        self.version = version
        self.summary = summary
        self.sourceURL = sourceURL
        self.email = email
        self.contact = contact
        self.openSignUp = openSignUp
        self.limits = limits
        self.userCount = userCount
        self.activeUserCount = activeUserCount
        self.statusCount = statusCount
    }

    /// Where streaming will answer: the same host, over WebSocket.
    private var streamingURL: String {
        guard let colon = baseURL.firstIndex(of: ":") else { return baseURL }
        return (baseURL.hasPrefix("https") ? "wss" : "ws") + baseURL[colon...]
    }

    private var thumbnailURL: String { baseURL + "/headers/original/missing.png" }

    /// The version of our own, without the words for clients.
    package static let softwareVersion = "0.1.0"

    /// `GET /api/v2/instance`.
    package func writeVersion2(to json: inout JSONWriter) {
        json.object { json in
            json.field("domain", domain)
            json.field("title", title)
            json.field("version", version)
            json.field("source_url", sourceURL)
            json.field("description", summary)
            json.key("usage")
            json.object { json in
                json.key("users")
                json.object { $0.field("active_month", activeUserCount) }
            }
            json.key("thumbnail")
            json.object { json in
                json.field("url", thumbnailURL)
                json.field("blurhash", String?.none)
                json.field("description", String?.none)
                json.key("versions")
                json.object { _ in }
            }
            json.key("icon")
            json.array { _ in }
            json.field("languages", ["en"])
            json.key("configuration")
            writeConfiguration(to: &json, version2: true)
            json.key("registrations")
            json.object { json in
                json.field("enabled", openSignUp)
                json.field("approval_required", false)
                json.field("reason_required", false)
                json.field("message", String?.none)
                json.field("min_age", Int?.none)
                json.field("url", String?.none)
            }
            json.key("api_versions")
            json.object { $0.field("mastodon", 7) }
            json.key("contact")
            json.object { json in
                json.field("email", email)
                json.field("account", contact)
            }
            json.key("rules")
            json.array { _ in }
        }
    }

    /// `GET /api/v1/instance`.
    package func writeVersion1(to json: inout JSONWriter) {
        json.object { json in
            json.field("uri", domain)
            json.field("title", title)
            json.field("short_description", summary)
            json.field("description", summary)
            json.field("email", email)
            json.field("version", version)
            json.key("urls")
            json.object { $0.field("streaming_api", streamingURL) }
            json.key("stats")
            json.object { json in
                json.field("user_count", userCount)
                json.field("status_count", statusCount)
                json.field("domain_count", 1)
            }
            json.field("thumbnail", thumbnailURL)
            json.field("languages", ["en"])
            json.field("registrations", openSignUp)
            json.field("approval_required", false)
            json.field("invites_enabled", false)
            json.key("configuration")
            writeConfiguration(to: &json, version2: false)
            json.field("contact_account", contact)
            json.key("rules")
            json.array { _ in }
        }
    }

    private func writeConfiguration(to json: inout JSONWriter, version2: Bool) {
        json.object { json in
            if version2 { writeURLs(to: &json) }
            json.key("accounts")
            json.object { json in
                json.field("max_featured_tags", 0)
                json.field("max_pinned_statuses", limits.pinnedStatuses)
                json.field("max_display_name_length", limits.displayNameCharacters)
                json.field("max_note_length", limits.noteCharacters)
                json.field("max_profile_fields", limits.profileFields)
            }
            json.key("statuses")
            json.object { json in
                json.field("max_characters", limits.statusCharacters)
                json.field("max_media_attachments", limits.attachments)
                json.field("characters_reserved_per_url", limits.charactersPerURL)
            }
            json.key("media_attachments")
            writeMedia(to: &json)
            json.key("polls")
            json.object { json in
                json.field("max_options", limits.polls.options)
                json.field("max_characters_per_option", limits.polls.optionCharacters)
                json.field("min_expiration", limits.polls.leastSeconds)
                json.field("max_expiration", limits.polls.mostSeconds)
            }
            if version2 {
                json.key("translation")
                json.object { $0.field("enabled", false) }
                json.field("limited_federation", true)
            }
        }
    }

    private func writeURLs(to json: inout JSONWriter) {
        json.key("urls")
        json.object { json in
            json.field("streaming", streamingURL)
            for name in ["status", "about", "privacy_policy", "terms_of_service"] {
                json.key(name)
                json.null()
            }
        }
        json.key("vapid")
        json.object { $0.field("public_key", "") }
    }

    private func writeMedia(to json: inout JSONWriter) {
        json.object { json in
            json.field("supported_mime_types", limits.mediaTypes)
            json.field("description_limit", limits.descriptionCharacters)
            json.field("image_size_limit", limits.imageBytes)
            json.field("image_matrix_limit", limits.imagePixels)
            // Videos come with the reels; until then none is taken.
            json.field("video_size_limit", 0)
            json.field("video_frame_rate_limit", 0)
            json.field("video_matrix_limit", 0)
        }
    }
}
