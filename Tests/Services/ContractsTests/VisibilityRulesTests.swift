import Contracts
import Sharding
import Testing

/// Each rule by itself; that every path asks them is what the comparison in VisibilityTests shows.
struct VisibilityRulesTests {
    private let author = UserID(rawValue: 1 << 16)
    private let viewer = UserID(rawValue: 2 << 16)

    private func aPost(
        _ visibility: Visibility,
        mentionsViewer: Bool = false,
        host: UserID? = nil,
        isHeld: Bool = false
    ) -> PostFacts {
        PostFacts(
            id: PostID(rawValue: 3 << 16),
            author: author,
            visibility: visibility,
            mentionsViewer: mentionsViewer,
            answers: host,
            host: host,
            isHeld: isHeld
        )
    }

    private func rules(_ change: (inout ViewerStanding) -> Void = { _ in }) -> VisibilityRules {
        var standing = ViewerStanding()
        change(&standing)
        return VisibilityRules(viewer: viewer, standing: standing)
    }

    @Test(arguments: VisibilityRules.Way.allCases)
    func `authors see what is theirs on every way`(way: VisibilityRules.Way) {
        let rules = VisibilityRules(viewer: author)

        for visibility in Visibility.allCases {
            #expect(rules.allow(aPost(visibility), of: OwnerState(isPrivate: true), by: way))
        }
    }

    @Test func `each audience sees what is for it and no more`() {
        let follower = rules { $0.followed = [author] }
        let friend = rules { $0.closeFriendOf = [author] }
        let nobody = VisibilityRules(viewer: nil)
        func seen(by rules: VisibilityRules, _ state: OwnerState = OwnerState()) -> [Visibility] {
            Visibility.allCases.filter { rules.allow(aPost($0), of: state, by: .address) }
        }

        #expect(seen(by: nobody) == [.public, .unlisted])
        #expect(seen(by: rules()) == [.public, .unlisted])
        #expect(seen(by: follower) == [.public, .unlisted, .private])
        #expect(seen(by: friend) == [.public, .unlisted, .closeFriends])
        let closed = OwnerState(isPrivate: true)
        #expect(seen(by: nobody, closed) == [])
        #expect(seen(by: rules(), closed) == [])
        #expect(seen(by: follower, closed) == [.public, .unlisted, .private])
        #expect(seen(by: friend, closed) == [.closeFriends])
    }

    @Test func `whom a post names sees it, unless a block stands between them`() {
        let post = aPost(.direct, mentionsViewer: true)

        #expect(rules().allow(post, of: OwnerState(isPrivate: true), by: .address))
        for isBlocker in [true, false] {
            let apart = VisibilityRules(
                viewer: viewer,
                standing: ViewerStanding(
                    followed: [author],
                    blocking: isBlocker ? [author] : [],
                    blockedBy: isBlocker ? [] : [author]
                )
            )
            #expect(!apart.allow(post, of: OwnerState(), by: .address))
            #expect(apart.allowAccount(author, OwnerState()) == isBlocker)
            #expect(!apart.allowPosts(of: author, OwnerState()))
            #expect(!apart.allowNotification(from: author, OwnerState()))
        }
    }

    @Test func `a mute hides where others are met, and leaves what is looked for`() {
        let rules = rules { $0.muted = [author] }
        let shown = VisibilityRules.Way.allCases.filter {
            rules.allow(aPost(.public), of: OwnerState(), by: $0)
        }

        #expect(shown == [.address, .profile])
        #expect(rules.allowNotification(from: author, OwnerState()), "unless it was asked for")
        #expect(!rules.allowDiscovery(of: author, OwnerState()))
    }

    @Test func `a comment that waits is for its author and the owner of the post`() {
        let host = UserID(rawValue: 9 << 16)
        let comment = aPost(.public, mentionsViewer: true, host: host, isHeld: true)

        #expect(!rules().allow(comment, of: OwnerState(), by: .address))
        #expect(!VisibilityRules(viewer: nil).allow(comment, of: OwnerState(), by: .address))
        #expect(VisibilityRules(viewer: host).allow(comment, of: OwnerState(), by: .conversation))
        #expect(VisibilityRules(viewer: author).allow(comment, of: OwnerState(), by: .conversation))
    }

    @Test func `a comment of a private account is for its followers and whom it is addressed to`() {
        let closed = OwnerState(isPrivate: true)

        #expect(rules().allow(aPost(.public, host: viewer), of: closed, by: .conversation))
        #expect(!rules().allow(aPost(.private, host: viewer), of: closed, by: .conversation))
        #expect(!rules().allow(aPost(.public, host: author), of: closed, by: .conversation))
    }

    @Test func `limited accounts are met by followers only, suspended ones by nobody`() {
        let limited = OwnerState(isLimited: true), gone = OwnerState(isSuspended: true)
        let follower = rules { $0.followed = [author] }

        for way in VisibilityRules.Way.allCases {
            let isMet = [.conversation, .discovery].contains(way)
            #expect(rules().allow(aPost(.public), of: limited, by: way) == !isMet)
            #expect(follower.allow(aPost(.public), of: limited, by: way))
            #expect(!follower.allow(aPost(.public), of: gone, by: way))
        }
        #expect(rules().allowAccount(author, limited))
        #expect(!rules().allowDiscovery(of: author, limited))
        #expect(!rules().allowNotification(from: author, limited))
        #expect(!follower.allowAccount(author, gone))
        #expect(!VisibilityRules(viewer: author).allowAccount(author, gone))
    }

    @Test func `what was withdrawn a moment ago overrules what rows and copies say`() {
        struct Recent: RecentWithdrawals {
            var gone = false, blocked = false, isClosed = false
            func isGone(_ post: PostID?, by author: UserID) -> Bool { gone }
            func areBlocked(_ one: UserID, _ other: UserID) -> Bool { blocked }
            func isPrivate(_ account: UserID) -> Bool { isClosed }
        }
        func allows(_ recent: Recent, _ standing: ViewerStanding = ViewerStanding()) -> Bool {
            VisibilityRules(viewer: viewer, standing: standing, recent: recent)
                .allow(aPost(.public), of: OwnerState(), by: .address)
        }

        #expect(allows(Recent()))
        #expect(!allows(Recent(gone: true)))
        #expect(!allows(Recent(blocked: true)))
        #expect(!allows(Recent(isClosed: true)))
        #expect(allows(Recent(isClosed: true), ViewerStanding(followed: [author])))
        let blocker = VisibilityRules(
            viewer: viewer,
            standing: ViewerStanding(blocking: [author]),
            recent: Recent(blocked: true)
        )
        #expect(blocker.allowAccount(author, OwnerState()), "whoever blocks can still find them")
    }
}
