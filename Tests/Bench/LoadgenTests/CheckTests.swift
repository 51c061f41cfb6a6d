import Testing

@testable import loadgen

struct CheckTests {
    @Test func `a right timeline passes`() {
        #expect(Verdict(read: [9, 5, 1], answer: [9, 5, 1]).isRight)
    }

    @Test func `each kind of fault is counted apart`() {
        let verdict = Verdict(read: [9, 9, 1, 7], answer: [9, 5, 1])

        #expect(verdict.lost == 1)
        #expect(verdict.doubled == 1)
        #expect(verdict.misordered == 1)
        #expect(verdict.unexpected == 1)
    }

    @Test func `the answer holds own posts and those of people followed, newest first`() {
        var state = Acknowledged(users: 3)
        state.posts = [[4], [9, 2], [7]]
        state.following[0] = [1]

        #expect(state.home(of: 0, bound: 10) == [9, 4, 2])
        #expect(state.home(of: 0, bound: 2) == [9, 4])
    }
}

struct ScriptTests {
    private let graph = SocialGraph(users: 200, averageFollows: 10, exponent: 1.0, seed: 7)

    @Test func `the same seed draws the same graph and the same scripts`() {
        let again = SocialGraph(users: 200, averageFollows: 10, exponent: 1.0, seed: 7)

        #expect(graph == again)
        #expect(Script(graph, shape: .init()).actions == Script(again, shape: .init()).actions)
    }

    @Test func `nobody unfollows whom they do not follow, nor deletes what they did not post`() {
        for actions in Script(graph, shape: .init()).actions {
            var following: Set<Int> = []
            var posts = 0
            for action in actions {
                switch action {
                case .follow(let target): #expect(following.insert(target).inserted)
                case .unfollow(let target): #expect(following.remove(target) != nil)
                case .post: posts += 1
                case .delete(let post): #expect(post < posts)
                case .readHome: break
                }
            }
            #expect(posts == 3)
        }
    }

    @Test func `an edge list becomes follows both ways, without loops and repeats`() throws {
        let graph = try SocialGraph(edgeList: "# a comment\n0 5\n5 0\n5 5\n5 9\n")

        #expect(graph.users == 3)
        #expect(graph.following == [[1], [0, 2], [1]])
    }

    @Test func `a line that is not two numbers is named`() {
        #expect(throws: SocialGraph.InvalidGraph.self) { try SocialGraph(edgeList: "1 2\nx y\n") }
    }
}
