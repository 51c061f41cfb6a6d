internal import Contracts
internal import Crypto
internal import HTTP

/// The pages of `/oauth/authorize`: log in, agree, read a code, or read why not.
///
/// Plain HTML that works without scripts. The policy of each page allows its own style sheet by hash and
/// nothing else: no script, no frame around it, no form that leads anywhere but here and to the application.
struct AuthorizePages: Sendable {
    let instanceName: String

    /// A form's hidden fields: the request that is being answered.
    typealias Fields = [(name: String, value: String)]

    func login(
        to application: String,
        fields: Fields,
        username: String = "",
        problem: String? = nil,
        status: Status = 200
    ) -> Response {
        let body: HTML = """
            <h1>Log in</h1>
            <p class="lead"><strong>\(application)</strong> wants to use your account on \
            \(instanceName).</p>
            \(alert(problem))
            <form method="post" action="/oauth/authorize">
            \(hidden(fields))
            <label for="username">Username or e-mail address</label>
            <input id="username" name="username" type="text" value="\(username)" required \
            autocomplete="username" autocapitalize="none" spellcheck="false" autofocus>
            <label for="password">Password</label>
            <input id="password" name="password" type="password" required \
            autocomplete="current-password">
            <button type="submit" name="action" value="login" class="primary">Log in</button>
            </form>
            """
        return page("Log in", body, status: status)
    }

    func consent(
        to application: String,
        website: String?,
        scopes: Scopes,
        account: String,
        fields: Fields,
        redirectURI: String,
        problem: String? = nil,
        status: Status = 200
    ) -> Response {
        let permissions = ScopeText.lines(for: scopes).map { line -> HTML in "<li>\(line)</li>" }
        let body: HTML = """
            <h1>Authorise \(application)?</h1>
            \(site(website))
            \(alert(problem))
            <p class="lead">You are logged in as <strong>@\(account)</strong>. If you agree, \
            <strong>\(application)</strong> may:</p>
            <ul>\(permissions)</ul>
            <p class="where">\(destination(redirectURI))</p>
            <form method="post" action="/oauth/authorize">
            \(hidden(fields))
            <button type="submit" name="action" value="allow" class="primary">Authorise</button>
            <button type="submit" name="action" value="deny">Cancel</button>
            <button type="submit" name="action" value="logout" class="quiet">\
            Use another account</button>
            </form>
            """
        return page(
            "Authorise \(application)",
            body,
            status: status,
            formAction: RedirectURI.formAction(of: redirectURI)
        )
    }

    func code(_ code: String, for application: String) -> Response {
        let body: HTML = """
            <h1>Copy this code</h1>
            <p class="lead">Paste it into <strong>\(application)</strong>. It works once, for ten \
            minutes. Give it to nobody else.</p>
            <label for="code">Authorisation code</label>
            <input id="code" name="code" type="text" value="\(code)" readonly autofocus \
            spellcheck="false">
            """
        return page("Authorisation code", body)
    }

    func refusal(_ title: String, _ detail: String, status: Status) -> Response {
        let body: HTML = """
            <h1>\(title)</h1>
            \(alert(detail))
            <p>Nothing was shared. You can close this page and start again from the application.</p>
            """
        return page(title, body, status: status)
    }

    // MARK: Parts

    private func hidden(_ fields: Fields) -> [HTML] {
        fields.map { "<input type=\"hidden\" name=\"\($0.name)\" value=\"\($0.value)\">\n" }
    }

    private func alert(_ problem: String?) -> HTML {
        guard let problem else { return "" }
        return "<p class=\"alert\" role=\"alert\">\(problem)</p>"
    }

    private func site(_ website: String?) -> HTML {
        guard let website, !website.isEmpty else { return "" }
        return "<p class=\"where\">\(website)</p>"
    }

    private func destination(_ redirectURI: String) -> HTML {
        redirectURI == RedirectURI.outOfBand
            ? "You will be shown a code to copy." : "You will be sent to \(redirectURI)"
    }

    private func page(
        _ title: String,
        _ body: HTML,
        status: Status = 200,
        formAction: String? = nil
    ) -> Response {
        let html: HTML = """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="robots" content="noindex">
            <title>\(title) · \(instanceName)</title>
            <style>\(Self.style)</style>
            </head>
            <body>
            <header>\(Self.logo)<span>\(instanceName)</span></header>
            <main>
            \(body)
            </main>
            </body>
            </html>

            """
        let policy =
            "default-src 'none'; style-src '\(Self.styleHash)'; base-uri 'none'; "
            + "form-action 'self'\(formAction.map { " \($0)" } ?? ""); frame-ancestors 'none'"
        return Response(
            status: status,
            headers: [
                "Content-Type": "text/html; charset=utf-8",
                "Content-Security-Policy": policy,
                "X-Frame-Options": "DENY",
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cache-Control": "no-store",
            ],
            body: .bytes(Array(html.description.utf8))
        )
    }

    private static let logo: HTML = """
        <svg width="28" height="28" viewBox="0 0 28 28" aria-hidden="true">\
        <rect x="1" y="1" width="12" height="12" rx="3" fill="#0f766e"/>\
        <rect x="15" y="1" width="12" height="12" rx="3" fill="#f59e0b"/>\
        <rect x="1" y="15" width="12" height="12" rx="3" fill="#db2777"/>\
        <rect x="15" y="15" width="12" height="12" rx="3" fill="#2563eb"/></svg>
        """

    private static let styleHash: String = {
        let digest = Digest.sha256(style.description)
        // The policy wants ordinary base64 with its padding.
        let text = Base64URL.encode(digest).map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 }
        return "sha256-" + String(text) + "="
    }()

    private static let style: HTML = """
        :root{color-scheme:light dark;--ink:#1c1917;--soft:#57534e;--paper:#fafaf9;--card:#fff;\
        --line:#d6d3d1;--accent:#0f766e;--on:#fff;--bad:#b91c1c;--wash:#fef2f2}
        @media(prefers-color-scheme:dark){:root{--ink:#f5f5f4;--soft:#a8a29e;--paper:#171412;\
        --card:#211d1b;--line:#44403c;--accent:#2dd4bf;--on:#042f2e;--bad:#fca5a5;--wash:#3b1717}}
        *{box-sizing:border-box}
        body{margin:0;min-height:100vh;background:var(--paper);color:var(--ink);\
        font:16px/1.5 system-ui,sans-serif;display:flex;flex-direction:column;align-items:center;\
        padding:clamp(1rem,6vh,4rem) 1rem}
        header{display:flex;align-items:center;gap:.6rem;font-weight:600;font-size:1.1rem;\
        margin-bottom:1.5rem}
        main{width:100%;max-width:26rem;background:var(--card);border:1px solid var(--line);\
        border-radius:16px;padding:1.75rem;overflow-wrap:anywhere}
        h1{font-size:1.4rem;line-height:1.25;margin:0 0 .5rem}
        p{margin:.5rem 0}
        .lead,.where{color:var(--soft)}
        .lead strong{color:var(--ink)}
        .where{font-size:.875rem}
        ul{margin:.75rem 0;padding-left:1.25rem}
        li{margin:.25rem 0}
        label{display:block;font-weight:600;margin:1rem 0 .35rem}
        input:not([type=hidden]){width:100%;font:inherit;color:inherit;background:var(--paper);\
        border:1px solid var(--line);border-radius:10px;padding:.65rem .8rem}
        #code{font-family:ui-monospace,monospace;font-size:.9rem}
        button{display:block;width:100%;font:inherit;font-weight:600;margin-top:.75rem;\
        padding:.7rem 1rem;border-radius:10px;border:1px solid var(--line);background:transparent;\
        color:inherit;cursor:pointer}
        form>button:first-of-type{margin-top:1.5rem}
        .primary{background:var(--accent);border-color:var(--accent);color:var(--on)}
        .quiet{border-color:transparent;color:var(--soft);font-weight:400}
        :focus-visible{outline:3px solid var(--accent);outline-offset:2px}
        .alert{background:var(--wash);color:var(--bad);border-radius:10px;padding:.65rem .8rem}
        """
}

/// Scopes in words.
enum ScopeText {
    static func lines(for scopes: Scopes) -> [String] {
        scopes.names.map { name in
            let pieces = name.split(separator: ":").map(String.init)
            return switch (pieces.first, pieces.count > 1 ? pieces[1] : nil) {
            case ("read", nil): "read everything in your account"
            case ("read", let part?): "read your \(word(part))"
            case ("write", nil): "post, and change everything in your account"
            case ("write", let part?): "change your \(word(part))"
            case ("follow", _): "change whom you follow, mute and block"
            case ("push", _): "send you notifications"
            case ("profile", _): "read your name and picture"
            case ("admin", _): "administer this server (\(name))"
            default: name
            }
        }
    }

    private static func word(_ part: String) -> String {
        switch part {
        case "accounts": "profile"
        case "statuses": "posts"
        case "favourites": "likes"
        case "media": "photos and videos"
        default: part
        }
    }
}
