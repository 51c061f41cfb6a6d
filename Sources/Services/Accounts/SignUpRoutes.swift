internal import Contracts
internal import Crypto
internal import HTTP
internal import ServiceKit

/// `POST /api/v1/accounts`: reads and checks the form; ``SignUp`` does the rest.
struct SignUpRoutes: Sendable {
    static let shortestPassword = 8

    let parts: AccountsParts

    var endpoints: [Endpoint] {
        [
            Endpoint(
                .post,
                "/api/v1/accounts",
                operationID: "createAccount",
                summary: "Make an account and open its first session.",
                tag: "accounts",
                access: .app(["write:accounts"]),
                inputs: [
                    Parameter("username", .string, required: true, "The name to be known by."),
                    Parameter("email", .string, required: true, "An e-mail address."),
                    Parameter("password", .string, required: true, "At least eight characters."),
                    Parameter("agreement", .boolean, required: true, "Agreement to the rules."),
                    Parameter("locale", .string, "The language of the user, such as `en`."),
                    Parameter("reason", .string, "Not used: accounts are not reviewed."),
                ],
                output: .entity("Token"),
                handler: signUp
            )
        ]
    }

    @Sendable private func signUp(_ call: Call) async throws -> Response {
        guard parts.settings.openSignUp else {
            throw ServiceError(.forbidden, "This server does not take new accounts.")
        }
        let form = try Self.form(call.input)
        guard let session = call.authentication?.session,
            let asking = try await parts.sessionStore.session(session),
            let client = try await parts.applications.application(asking.clientID)
        else { throw ServiceError.unauthorized }
        let repetition = call.request.header("Idempotency-Key").map { key in
            SignUp.Repetition(
                key: key,
                actor: client.clientID,
                form: form,
                secret: parts.security.secret(for: "sign-up")
            )
        }
        let opened = try await parts.signUp.run(
            form,
            by: client,
            scopes: asking.scopes,
            address: call.request.remoteAddress,
            repetition: repetition
        )
        return .json(parts.tokenEntity(of: opened))
    }

    // MARK: The form

    static func form(_ input: Input) throws(ServiceError) -> SignUp.Form {
        var details: [ServiceError.Detail] = []
        let username = checked(input.string("username"), &details)
        let email = EmailAddress(input.string("email") ?? "")
        if email == nil {
            let blank = (input.string("email") ?? "").isEmpty
            details.append(
                blank
                    ? .init(field: "email", code: "ERR_BLANK", message: "can't be blank")
                    : .init(field: "email", code: "ERR_INVALID", message: "is invalid")
            )
        }
        let password = input.string("password") ?? ""
        if let detail = complaint(aboutPassword: password) { details.append(detail) }
        if input.bool("agreement") != true {
            details.append(
                .init(field: "agreement", code: "ERR_ACCEPTED", message: "must be accepted")
            )
        }
        guard details.isEmpty, let username, let email else { throw invalid(details) }
        return SignUp.Form(
            username: username,
            email: email,
            password: password,
            language: input.string("locale").flatMap(LanguageTag.init)?.text
        )
    }

    static func complaint(aboutPassword password: String) -> ServiceError.Detail? {
        if password.isEmpty {
            return .init(field: "password", code: "ERR_BLANK", message: "can't be blank")
        }
        if password.count < shortestPassword {
            return .init(
                field: "password",
                code: "ERR_TOO_SHORT",
                message: "is too short (minimum is \(shortestPassword) characters)"
            )
        }
        if password.utf8.count > PasswordHash.passwordLimitBytes {
            return .init(field: "password", code: "ERR_TOO_LONG", message: "is too long")
        }
        return nil
    }

    static func checked(
        _ text: String?,
        _ details: inout [ServiceError.Detail]
    ) -> Username? {
        do throws(Username.Refusal) {
            return try Username(claiming: text ?? "")
        } catch {
            details.append(detail(of: error))
            return nil
        }
    }

    private static func detail(of refusal: Username.Refusal) -> ServiceError.Detail {
        switch refusal {
        case .blank: .init(field: "username", code: "ERR_BLANK", message: "can't be blank")
        case .tooLong:
            .init(
                field: "username",
                code: "ERR_TOO_LONG",
                message: "is too long (maximum is \(Username.limit) characters)"
            )
        case .malformed:
            .init(
                field: "username",
                code: "ERR_INVALID",
                message: "must contain only letters, numbers, dots and underscores"
            )
        case .reserved: .init(field: "username", code: "ERR_RESERVED", message: "is reserved")
        }
    }

    /// One error with every complaint, as Mastodon words it.
    static func invalid(_ details: [ServiceError.Detail]) -> ServiceError {
        let words = details.map { detail in
            "\(detail.field.prefix(1).uppercased())\(detail.field.dropFirst()) \(detail.message)"
        }
        var error = ServiceError.invalid(words.joined(separator: ", "))
        error.details = details
        return error
    }
}

/// A language as BCP 47 writes it, such as `de` or `pt-BR`.
struct LanguageTag: Sendable {
    let text: String

    init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard (1...3).contains(parts.count), (2...3).contains(parts[0].utf8.count),
            parts.allSatisfy({ part in
                (2...8).contains(part.utf8.count)
                    && part.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) }
            })
        else { return nil }
        self.text = text
    }
}
