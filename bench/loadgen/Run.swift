import EventLoops
import HTTP
import JSON

/// Signs everybody up, plays the scripts, and reads every home timeline.
final class Run: @unchecked Sendable {
    // @unchecked: touched on the loop of `api` only.

    struct Settings: Sendable {
        var concurrency = 32
        /// How long the cluster may take after the last write until every timeline is right.
        var settle = Duration.seconds(180)
        var pageSize = 40
        /// The server keeps the newest 800 of a home timeline.
        var homeBound = 800
    }

    struct Member: Sendable {
        var id: String
        var token: String
    }

    let api: APIClient
    private let graph: SocialGraph
    private let script: Script
    private let photos: [[UInt8]]
    private let settings: Settings
    private let progress: Progress
    private var random: SplitMix64

    private var members: [Member?]
    private var postIDs: [[Int64]]
    private var state: Acknowledged
    private(set) var failures: [String] = []

    init(
        api: APIClient,
        graph: SocialGraph,
        script: Script,
        photos: [[UInt8]],
        settings: Settings,
        progress: Progress,
        seed: UInt64
    ) {
        self.api = api
        self.graph = graph
        self.script = script
        self.photos = photos
        self.settings = settings
        self.progress = progress
        random = SplitMix64(seed: seed)
        members = Array(repeating: nil, count: graph.users)
        postIDs = Array(repeating: [], count: graph.users)
        state = Acknowledged(users: graph.users)
    }

    // MARK: Sign-up

    func signUp() async throws {
        let app = try await api.call(
            .post,
            "/api/v1/apps",
            payload: .form([
                "client_name": "Tessera load generator",
                "redirect_uris": "urn:ietf:wg:oauth:2.0:oob",
                "scopes": "read write follow",
            ])
        )
        let token = try await api.call(
            .post,
            "/oauth/token",
            payload: .form([
                "grant_type": "client_credentials",
                "client_id": app.json?["client_id"]?.string ?? "",
                "client_secret": app.json?["client_secret"]?.string ?? "",
                "scope": "read write follow",
            ])
        ).json?["access_token"]?.string
        let run = String(random.next() % 2_176_782_336, radix: 36)
        await forEach(0..<graph.users, named: "sign up") { user in
            let name = "u\(user)_\(run)"
            let answer = try await self.api.call(
                .post,
                "/api/v1/accounts",
                token: token,
                payload: .form([
                    "username": name, "email": "\(name)@load.example",
                    "password": "correct horse \(name)", "agreement": "true", "locale": "en",
                ])
            )
            guard let access = answer.json?["access_token"]?.string else {
                throw APIClient.Failure(call: "sign up", status: answer.status, detail: "no token")
            }
            let me = try await self.api.call(
                .get,
                "/api/v1/accounts/verify_credentials",
                token: access
            )
            self.members[user] = Member(id: me.json?["id"]?.string ?? "", token: access)
        }
    }

    // MARK: Scripts

    /// Plays all scripts at once: each user's actions in order, the users mixed at random.
    func play() async {
        var ready = Array(0..<graph.users).filter {
            members[$0] != nil && !script.actions[$0].isEmpty
        }
        var position = Array(repeating: 0, count: graph.users)
        progress.begin("follow and post", total: script.total)
        await withWorkers { [self] in
            while !ready.isEmpty {
                let slot = Int.random(in: 0..<ready.count, using: &random)
                let user = ready[slot]
                ready.swapAt(slot, ready.count - 1)
                ready.removeLast()
                let action = script.actions[user][position[user]]
                position[user] += 1
                do {
                    try await perform(action, by: user)
                } catch {
                    failures.append("\(action) by user \(user): \(error)")
                }
                progress.step()
                if position[user] < script.actions[user].count { ready.append(user) }
            }
        }
        progress.end()
    }

    private func perform(_ action: Action, by user: Int) async throws {
        guard let me = members[user] else { return }
        switch action {
        case .follow(let target):
            guard let other = members[target] else { return }
            _ = try await api.call(.post, "/api/v1/accounts/\(other.id)/follow", token: me.token)
            state.following[user].insert(target)
        case .unfollow(let target):
            guard let other = members[target] else { return }
            _ = try await api.call(.post, "/api/v1/accounts/\(other.id)/unfollow", token: me.token)
            state.following[user].remove(target)
        case .post:
            try await publish(by: user, me)
        case .delete(let index):
            let id = postIDs[user][index]
            // A repeat after an answer that was lost finds the post gone: that is an acknowledgement.
            _ = try await api.call(
                .delete,
                "/api/v1/statuses/\(id)",
                token: me.token,
                accepting: [404]
            )
            state.posts[user].removeAll { $0 == id }
        case .readHome:
            _ = try await api.call(.get, "/api/v1/timelines/home?limit=5", token: me.token)
        }
    }

    private func publish(by user: Int, _ me: Member) async throws {
        let photo = photos[Int.random(in: 0..<photos.count, using: &random)]
        let media = try await api.call(
            .post,
            "/api/v2/media",
            token: me.token,
            payload: .photo(photo)
        )
        let status = try await api.call(
            .post,
            "/api/v1/statuses",
            token: me.token,
            payload: .form([
                "status": "photo \(postIDs[user].count + 1) of user \(user)",
                "media_ids[]": media.json?["id"]?.string ?? "",
            ])
        )
        guard let id = status.json?["id"]?.string.flatMap({ Int64($0) }) else {
            throw APIClient.Failure(call: "post", status: status.status, detail: "no id")
        }
        postIDs[user].append(id)
        state.posts[user].append(id)
    }

    // MARK: Check

    /// Reads every home timeline until it is right or the time to settle is over.
    func check() async -> Verdict {
        var sum = Verdict()
        let deadline = EventLoop.nanoseconds + settings.settle.wholeMilliseconds * 1_000_000
        await forEach(0..<graph.users, named: "check home timelines") { [self] user in
            guard let me = members[user] else { return }
            let answer = state.home(of: user, bound: settings.homeBound)
            var verdict = Verdict()
            repeat {
                verdict = Verdict(read: try await home(of: me), answer: answer)
                if verdict.isRight { return }
                try await api.loop.sleep(for: .milliseconds(500))
            } while EventLoop.nanoseconds < deadline
            sum += verdict
            failures.append("home of user \(user) (account \(me.id)): \(verdict)")
        }
        return sum
    }

    private func home(of me: Member) async throws -> [Int64] {
        var ids: [Int64] = []
        while true {
            let before = ids.last.map { "&max_id=\($0)" } ?? ""
            let page =
                try await api.call(
                    .get,
                    "/api/v1/timelines/home?limit=\(settings.pageSize)\(before)",
                    token: me.token
                ).json?.array ?? []
            ids += page.compactMap { $0["id"]?.string.flatMap { Int64($0) } }
            if page.count < settings.pageSize { return ids }
        }
    }

    // MARK: Workers

    private func forEach(
        _ range: Range<Int>,
        named name: String,
        _ body: @escaping (Int) async throws -> Void
    ) async {
        var next = range.lowerBound
        progress.begin(name, total: range.count)
        await withWorkers { [self] in
            while next < range.upperBound {
                let item = next
                next += 1
                do {
                    try await body(item)
                } catch {
                    failures.append("\(name), user \(item): \(error)")
                }
                progress.step()
            }
        }
        progress.end()
    }

    private func withWorkers(_ body: @escaping () async -> Void) async {
        let workers = Workers(body: body)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<settings.concurrency {
                group.addTask { await workers.body() }
            }
        }
    }

    /// Carries a loop-bound closure into the child tasks of the same loop.
    private struct Workers: @unchecked Sendable {
        // @unchecked: child tasks inherit the loop, so all of them run on one thread.
        let body: () async -> Void
    }
}
