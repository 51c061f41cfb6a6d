import Contracts
import HTTP
import Postgres
import ServiceKit
import Sharding

/// `/api/v1/polls`: a poll has the id of its post, and is seen by whoever sees that.
struct PollRoutes: Sendable {
    let directory: PostDirectory
    let polls: PollStore
    let refresh: CountRefresh

    var endpoints: [Endpoint] { [one, vote] }

    private var one: Endpoint {
        Endpoint(
            .get,
            "/api/v1/polls/:id",
            operationID: "getPoll",
            summary: "A poll.",
            tag: "polls",
            access: .optionalUser,
            output: .entity("Poll")
        ) { call in
            try await answer(call.id(), viewer: call.viewer)
        }
    }

    private var vote: Endpoint {
        Endpoint(
            .post,
            "/api/v1/polls/:id/votes",
            operationID: "voteInPoll",
            summary: "Votes, once and for good.",
            tag: "polls",
            access: .user(["write:statuses"]),
            inputs: [
                Parameter("choices", .strings, required: true, "Options by number, from 0.")
            ],
            output: .entity("Poll")
        ) { call in
            let user = try call.user()
            let id: PostID = try call.id()
            guard let post = try await directory.fragment(id, viewer: user)?.post,
                let poll = post.details.poll
            else { throw ServiceError.notFound }
            guard post.author != user else {
                throw ServiceError.invalid("You can't vote in your own polls")
            }
            guard poll.expiresAt > .now else {
                throw ServiceError.invalid("The poll has already ended")
            }
            let choices = try Self.choices(call, of: poll)
            guard try await polls.vote(choices, on: id, by: user) else {
                throw ServiceError.invalid("You have already voted on this poll")
            }
            await refresh.changed(id)
            return try await answer(id, viewer: user)
        }
    }

    private static func choices(_ call: Call, of poll: Poll) throws(ServiceError) -> [Int] {
        let asked = call.input.strings("choices")
        let choices = Set(asked.compactMap { Int($0) }.filter { poll.options.indices.contains($0) })
        guard !choices.isEmpty, choices.count == asked.count else {
            throw .invalid("The chosen vote option does not exist")
        }
        guard choices.count == 1 || poll.isMultiple else {
            throw .invalid("Only one option of this poll can be chosen")
        }
        return choices.sorted()
    }

    private func answer(_ id: PostID, viewer: UserID?) async throws -> Response {
        guard let poll = try await directory.status(id, viewer: viewer)?.poll else {
            throw ServiceError.notFound
        }
        return .json(poll)
    }
}

extension PostDirectory {
    /// The same entities with what the viewer chose in their polls; asks nobody where there are none.
    func withVotes(
        _ entities: [PostID: StatusEntity],
        of viewer: UserID?
    ) async throws -> [PostID: StatusEntity] {
        let polls = entities.filter { $0.value.poll != nil }.map(\.key).sorted()
        guard let viewer, !polls.isEmpty else { return entities }
        let votes = try await PollStore(database: store.database).votes(of: viewer, on: polls)
        var all = entities
        for id in polls {
            all[id]?.poll?.ownVotes = votes[id] ?? []
            all[id]?.poll?.isOwn = entities[id]?.account.id == viewer
        }
        return all
    }
}

extension PostRendering {
    /// The poll of a post as it stands at a moment, without what anybody chose.
    func poll(of fragment: PostFragment, at now: Timestamp) -> PollEntity? {
        guard let poll = fragment.post.details.poll else { return nil }
        let isExpired = poll.expiresAt <= now
        let counts = fragment.counts.options.prefix(poll.options.count)
        let isHidden = poll.hidesTotals && !isExpired
        return PollEntity(
            id: fragment.post.id,
            expiresAt: poll.expiresAt,
            isExpired: isExpired,
            isMultiple: poll.isMultiple,
            options: zip(poll.options, counts).map {
                PollEntity.Option(title: $0, votes: isHidden ? nil : $1)
            },
            votes: counts.reduce(0, +),
            voters: fragment.counts.voters
        )
    }
}
