import JSON
import Sharding

/// Each entity as it can look, full and empty, written by itself: what the API's description is made from.
package enum EntitySamples {
    package static var all: [(name: String, json: [UInt8])] {
        var samples: [(name: String, json: [UInt8])] = []
        func add(_ name: String, _ values: (any JSONEncodable)...) {
            for value in values { samples.append((name, value.jsonBytes)) }
        }
        add("Account", fullAccount, emptyAccount)
        add("CredentialAccount", credentials(of: fullAccount), credentials(of: emptyAccount))
        add("Relationship", RelationshipEntity(id: UserID(rawValue: 1)), mutedForAWhile)
        add(
            "FamiliarFollowers",
            FamiliarFollowersEntity(id: UserID(rawValue: 1), accounts: [fullAccount, emptyAccount])
        )
        add("MediaAttachment", fullPhoto, emptyPhoto)
        add("Status", fullStatus, emptyStatus)
        add("StatusSource", StatusSourceEntity(id: fullStatus.id, text: "a", spoilerText: ""))
        add("StatusEdit", edit)
        add(
            "StatusInsights",
            StatusInsightsEntity(id: fullStatus.id, views: 1, favourites: 1, replies: 1)
        )
        add("Context", ContextEntity(ancestors: [fullStatus], descendants: [emptyStatus]))
        add("Search", search)
        add("Tag", TagEntity(name: "a", url: "https://example.org/tags/a", following: false))
        add("Token", TokenEntity(accessToken: "a", scopes: scopes, createdAt: moment))
        add("Application", application(nil), application("https://example.org"))
        add("CredentialApplication", credentialApplication)
        add("Role", RoleEntity.everyone)
        for contact in [nil, fullAccount] {
            samples.append(("Instance", instance(contact) { $0.writeVersion2(to: &$1) }))
            samples.append(("InstanceV1", instance(contact) { $0.writeVersion1(to: &$1) }))
        }
        return samples
    }

    private static let moment = Timestamp(milliseconds: 1_700_000_000_000)
    private static let scopes = Scopes(names: ["read"])

    private static var fullAccount: AccountEntity {
        AccountEntity(
            id: UserID(rawValue: 1),
            username: "a",
            displayName: "A",
            url: "https://example.org/@a",
            note: "<p>a</p>",
            avatar: "https://example.org/a.png",
            header: "https://example.org/h.png",
            discoverable: true,
            hideCollections: false,
            fields: [
                .init(name: "n", value: "v", verifiedAt: moment), .init(name: "n", value: "v"),
            ],
            createdAt: moment,
            lastStatusAt: moment
        )
    }

    private static var emptyAccount: AccountEntity {
        AccountEntity(
            id: UserID(rawValue: 1),
            username: "a",
            displayName: "",
            url: "https://example.org/@a",
            avatar: "https://example.org/a.png",
            header: "https://example.org/h.png",
            suspended: true,
            limited: true,
            createdAt: moment
        )
    }

    private static var mutedForAWhile: RelationshipEntity {
        var relationship = RelationshipEntity(id: UserID(rawValue: 1))
        relationship.mutingExpiresAt = moment
        return relationship
    }

    private static func credentials(of account: AccountEntity) -> CredentialAccountEntity {
        CredentialAccountEntity(
            account: account,
            source: .init(
                note: "a",
                fields: account.fields,
                language: account.discoverable == nil ? nil : "en"
            )
        )
    }

    private static var fullPhoto: MediaAttachmentEntity {
        let size = MediaAttachmentEntity.Size(width: 3, height: 2)
        return MediaAttachmentEntity(
            id: MediaID(rawValue: 1),
            url: "https://example.org/p.jpg",
            previewURL: "https://example.org/s.jpg",
            original: size,
            small: size,
            focus: .init(x: 0.5, y: -0.5),
            description: "a photo",
            blurhash: "L00000"
        )
    }

    private static var emptyPhoto: MediaAttachmentEntity {
        MediaAttachmentEntity(
            id: MediaID(rawValue: 1),
            url: nil,
            previewURL: nil,
            original: nil,
            small: nil
        )
    }

    private static var fullStatus: StatusEntity {
        StatusEntity(
            id: PostID(rawValue: 1),
            createdAt: moment,
            editedAt: moment,
            account: fullAccount,
            content: "<p>a</p>",
            visibility: .public,
            language: "en",
            url: "https://example.org/@a/1",
            inReplyTo: PostID(rawValue: 1),
            inReplyToAccount: UserID(rawValue: 1),
            attachments: [fullPhoto, emptyPhoto],
            mentions: [
                .init(id: UserID(rawValue: 1), username: "a", url: "https://example.org/@a")
            ],
            tags: [StatusTag(name: "a", url: "https://example.org/tags/a")],
            application: .init(name: "a", website: "https://example.org"),
            viewer: .init(pinned: true),
            text: "a"
        )
    }

    private static var emptyStatus: StatusEntity {
        StatusEntity(
            id: PostID(rawValue: 1),
            createdAt: moment,
            account: emptyAccount,
            content: "",
            visibility: .public,
            url: "https://example.org/@a/1"
        )
    }

    private static var edit: StatusEditEntity {
        StatusEditEntity(
            content: "",
            spoilerText: "",
            sensitive: false,
            createdAt: moment,
            account: fullAccount,
            attachments: [fullPhoto, emptyPhoto]
        )
    }

    private static var search: SearchEntity {
        SearchEntity(
            accounts: [fullAccount, emptyAccount],
            statuses: [fullStatus, emptyStatus],
            hashtags: [TagEntity(name: "a", url: "https://example.org/tags/a")]
        )
    }

    private static func application(_ website: String?) -> ApplicationEntity {
        ApplicationEntity(
            id: "1",
            name: "a",
            website: website,
            scopes: scopes,
            redirectURIs: ["urn:ietf:wg:oauth:2.0:oob"]
        )
    }

    private static var credentialApplication: ApplicationEntity {
        var credentials = application(nil)
        credentials.credentials = .init(id: "1", secret: "s")
        return credentials
    }

    private static func instance(
        _ contact: AccountEntity?,
        _ write: (InstanceEntity, inout JSONWriter) -> Void
    ) -> [UInt8] {
        var json = JSONWriter()
        let instance = InstanceEntity(
            domain: "example.org",
            baseURL: "https://example.org",
            contact: contact,
            openSignUp: true,
            limits: .init(mediaTypes: ["image/jpeg"], imageBytes: 1, imagePixels: 1)
        )
        write(instance, &json)
        return json.bytes
    }
}
