import Contracts
import JSON
import Testing

/// The keys that Mastodon 4.5 documents without the mark "optional", by entity.
@Suite struct `Entities` {
    @Test(arguments: [
        (
            "Account",
            "id username acct url uri display_name note avatar avatar_static header header_static"
                + " locked fields emojis bot group discoverable created_at last_status_at"
                + " statuses_count followers_count following_count roles indexable hide_collections"
        ),
        (
            "CredentialAccount",
            "id username acct url uri display_name note avatar avatar_static header header_static"
                + " locked fields emojis bot group discoverable created_at last_status_at"
                + " statuses_count followers_count following_count source role"
        ),
        (
            "Status",
            "id uri created_at account content visibility sensitive spoiler_text"
                + " media_attachments mentions tags emojis reblogs_count favourites_count"
                + " replies_count quotes_count url in_reply_to_id in_reply_to_account_id reblog"
                + " poll card language edited_at quote quote_approval"
        ),
        (
            "MediaAttachment",
            "id type url preview_url remote_url meta description blurhash"
        ),
        (
            "Relationship",
            "id following showing_reblogs notifying followed_by blocking blocked_by muting"
                + " muting_notifications requested requested_by domain_blocking endorsed note"
                + " languages"
        ),
        ("Context", "ancestors descendants"),
        ("Search", "accounts statuses hashtags"),
        ("Tag", "id name url history"),
        ("Token", "access_token token_type scope created_at"),
        ("Application", "id name website scopes redirect_uris redirect_uri vapid_key"),
        (
            "CredentialApplication",
            "id name website scopes redirect_uris redirect_uri client_id client_secret"
                + " client_secret_expires_at vapid_key"
        ),
        ("StatusSource", "id text spoiler_text"),
        (
            "StatusEdit",
            "content spoiler_text sensitive created_at account media_attachments emojis quote"
        ),
        ("Role", "id name color permissions highlighted"),
        (
            "Instance",
            "domain title version source_url description usage thumbnail icon languages"
                + " configuration registrations api_versions contact rules"
        ),
        (
            "InstanceV1",
            "uri title short_description description email version urls stats thumbnail languages"
                + " registrations approval_required invites_enabled configuration contact_account"
                + " rules"
        ),
    ])
    func `carry every key that is not optional, whatever they say`(
        name: String,
        keys: String
    ) throws {
        let samples = EntitySamples.all.filter { $0.name == name }
        #expect(!samples.isEmpty)
        for sample in samples {
            let members = try #require(try JSONReader.parse(sample.json).object).map(\.key)
            #expect(Set(members).count == members.count, "a key is written twice")
            for key in keys.split(separator: " ").map(String.init) {
                #expect(members.contains(key), "\(name) lacks \(key)")
            }
        }
    }

    @Test func `instance configuration has the members that clients read`() throws {
        let sample = try #require(EntitySamples.all.first { $0.name == "Instance" })
        let configuration = try #require(try JSONReader.parse(sample.json)["configuration"])

        for (part, keys) in [
            ("urls", "streaming status about privacy_policy terms_of_service"),
            ("vapid", "public_key"),
            ("accounts", "max_featured_tags max_pinned_statuses"),
            ("statuses", "max_characters max_media_attachments characters_reserved_per_url"),
            (
                "media_attachments",
                "description_limit supported_mime_types image_size_limit image_matrix_limit"
                    + " video_size_limit video_frame_rate_limit video_matrix_limit"
            ),
            ("polls", "max_options max_characters_per_option min_expiration max_expiration"),
            ("translation", "enabled"),
        ] {
            for key in keys.split(separator: " ").map(String.init) {
                #expect(configuration[part]?[key] != nil, "\(part).\(key)")
            }
        }
    }

    @Test func `ids are texts and dates have milliseconds and a zone`() throws {
        let sample = try #require(EntitySamples.all.first { $0.name == "Status" })
        let status = try JSONReader.parse(sample.json)

        #expect(status["id"]?.string == "1")
        #expect(status["created_at"]?.string == "2023-11-14T22:13:20.000Z")
        #expect(status["account"]?["created_at"]?.string == "2023-11-14T00:00:00.000Z")
        #expect(status["account"]?["last_status_at"]?.string == "2023-11-14")
    }

    @Test func `an attachment is read as it was written`() throws {
        let photo = MediaAttachmentEntity(
            id: MediaID(rawValue: 77),
            url: "u",
            previewURL: nil,
            original: .init(width: 3, height: 4),
            small: nil,
            focus: .init(x: -0.5, y: 1),
            description: "\u{1F33B} \"quoted\"",
            blurhash: nil
        )

        #expect(MediaAttachmentEntity(try JSONReader.parse(photo.jsonBytes)) == photo)
    }
}
