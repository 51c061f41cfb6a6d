import Contracts
import Counters
import Database
import Jobs
import Postgres
import Sharding

/// Votes, beside the post whose poll they are about.
struct PollStore: Sendable {
    let database: Database

    /// The counts of options, in their order, and of people.
    static let optionCounts: [CounterKind] = [
        .firstOption, .secondOption, .thirdOption, .fourthOption,
    ]

    /// Votes once; answers whether this vote is the one that counts.
    ///
    /// One statement: the row, which its key keeps to one for each person, and the counts. The end is judged by the
    /// shard's clock.
    func vote(
        _ choices: [Int],
        on post: PostID,
        by voter: UserID
    ) async throws(DatabaseError) -> Bool {
        var statement: SQL = """
            WITH voted AS (
                INSERT INTO posts.poll_vote (bucket, post, voter, id, choices)
                SELECT p.bucket, p.id, \(voter), control.next_id(p.bucket),
                    \(choices.map { Int16($0) })::smallint[]
                FROM posts.post AS p
                WHERE p.bucket = \(post.bucket) AND p.id = \(post) AND p.deleted_at IS NULL
                  AND (p.details #>> '{poll,expires}')::bigint
                    > extract(epoch FROM now()) * 1000000
                ON CONFLICT (bucket, post, voter) DO NOTHING
                RETURNING voter
            ), people AS (
                \(fragment: Counters.append(
                    subject: post, kind: CounterKind.voters, amount: 1, forEach: "voted"))
            )
            """
        for choice in choices {
            statement += """
                , choice\(unsafe: String(choice)) AS (
                    \(fragment: Counters.append(
                        subject: post, kind: Self.optionCounts[choice], amount: 1,
                        forEach: "voted"))
                )
                """
        }
        let rows = try await database.write(on: post, [statement + " SELECT voter FROM voted"])
        return rows.first?.isEmpty == false
    }

    /// What a person chose, in each of these polls in which they voted.
    func votes(
        of voter: UserID,
        on posts: [PostID]
    ) async throws(DatabaseError) -> [PostID: [Int]] {
        let rows: [VoteRow] = try await database.gather(posts) { posts in
            """
            SELECT v.post, v.choices
            FROM unnest(\(posts.map(\.bucket))::smallint[], \(posts)::bigint[])
                AS wanted (bucket, id)
            JOIN posts.poll_vote AS v
                ON v.bucket = wanted.bucket AND v.post = wanted.id AND v.voter = \(voter)
            """
        }
        return Dictionary(rows.map { ($0.post, $0.choices) }) { first, _ in first }
    }

    /// Some of those who voted, by the ids of their votes.
    func voters(
        on post: PostID,
        after: Int64,
        limit: Int
    ) async throws(DatabaseError) -> [ListEntry<UserID>] {
        try await database.rows(
            """
            SELECT id, voter
            FROM posts.poll_vote
            WHERE bucket = \(post.bucket) AND post = \(post) AND id > \(after)
            ORDER BY id
            LIMIT \(limit)
            """,
            on: post
        )
    }
}

private struct VoteRow: RowDecodable {
    let post: PostID
    let choices: [Int]

    init(row: inout Row) throws(DatabaseError) {
        post = try row.next()
        choices = try row.next([Int16].self).map { Int($0) }
    }
}
