import JSON
import Sharding

/// A client application, as its owner sees it when it is made, or as anybody does without the secret.
package struct ApplicationEntity: Sendable, JSONEncodable {
    package struct Credentials: Sendable {
        package var id: String
        package var secret: String

        package init(id: String, secret: String) {
            self.id = id
            self.secret = secret
        }
    }

    package var id: String
    package var name: String
    package var website: String?
    package var scopes: Scopes
    package var redirectURIs: [String]
    /// Only in the answer to `POST /api/v1/apps`.
    package var credentials: Credentials?

    package init(
        id: String,
        name: String,
        website: String?,
        scopes: Scopes,
        redirectURIs: [String],
        credentials: Credentials? = nil
    ) {
        self.id = id
        self.name = name
        self.website = website
        self.scopes = scopes
        self.redirectURIs = redirectURIs
        self.credentials = credentials
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("id", id)
            json.field("name", name)
            json.field("website", website)
            json.field("scopes", scopes.names)
            json.field("redirect_uris", redirectURIs)
            json.field("redirect_uri", redirectURIs.joined(separator: "\n"))
            json.field("vapid_key", "")
            if let credentials {
                json.field("client_id", credentials.id)
                json.field("client_secret", credentials.secret)
                // Zero: it does not expire.
                json.field("client_secret_expires_at", 0)
            }
        }
    }
}

/// An access token in the answer of `POST /oauth/token`.
package struct TokenEntity: Sendable, JSONEncodable {
    package var accessToken: String
    package var scopes: Scopes
    package var createdAt: Timestamp

    package init(accessToken: String, scopes: Scopes, createdAt: Timestamp) {
        self.accessToken = accessToken
        self.scopes = scopes
        self.createdAt = createdAt
    }

    package func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("access_token", accessToken)
            json.field("token_type", "Bearer")
            json.field("scope", scopes.description)
            json.field("created_at", createdAt.seconds)
        }
    }
}
