import Contracts
import Feed
import ServiceKit
import Sharding
import Testing

struct FanOutTests {
    private func reader(_ number: Int) -> UserID {
        UserID(rawValue: HybridClock.id(reading: Int64(number), bucket: BucketID.all[number % 64]))
    }

    @Test func `nobody, a few, many and too many followers are four plans`() {
        let starts = [reader(1), reader(2), reader(3)]

        #expect(FanOut.plan(followers: 0, threshold: 10, starts: []) == .nobody)
        #expect(
            FanOut.plan(followers: 3, threshold: 10, starts: [starts[0]])
                == .deliver(FollowerRange())
        )
        #expect(
            FanOut.plan(followers: 9, threshold: 10, starts: starts)
                == .split([
                    FollowerRange(to: starts[1]), FollowerRange(from: starts[1], to: starts[2]),
                    FollowerRange(from: starts[2]),
                ])
        )
        #expect(FanOut.plan(followers: 11, threshold: 10, starts: starts) == .pull(followers: 11))
    }

    @Test func `ranges leave no gap for a follower who comes meanwhile`() {
        guard
            case .split(let ranges) = FanOut.plan(
                followers: 4,
                threshold: 9,
                starts: (0..<4).map(reader)
            )
        else {
            Issue.record("four ranges are expected")
            return
        }

        #expect(ranges.first?.from == nil)
        #expect(ranges.last?.to == nil)
        for (range, next) in zip(ranges, ranges.dropFirst()) { #expect(range.to == next.from) }
    }

    @Test func `batches hold each reader once, on the shard of its bucket, and are even`() {
        let shards = [ShardID("s1")!, ShardID("s2")!]
        let readers = (0..<5_000).map(reader).sorted { ($0.bucket, $0) < ($1.bucket, $1) }

        let batches = FanOut.batches(of: readers, size: 1_000) {
            shards[Int($0.rawValue) % 2]
        }

        #expect(Set(batches.flatMap(\.readers)) == Set(readers))
        #expect(batches.reduce(0) { $0 + $1.readers.count } == readers.count)
        for batch in batches {
            #expect((800...1_000).contains(batch.readers.count))
            #expect(Set(batch.buckets) == Set(batch.readers.map(\.bucket)))
            #expect(batch.buckets.count == Set(batch.buckets).count)
            #expect(batch.readers.allSatisfy { shards[Int($0.bucket.rawValue) % 2] == batch.shard })
        }
    }
}

struct HomeTimelineTests {
    private func posts(_ numbers: some Sequence<Int>) -> [PostID] {
        numbers.map { PostID(rawValue: Int64($0)) }
    }

    private func references(_ numbers: some Sequence<Int>) -> [PostReference] {
        posts(numbers).map { PostReference(id: $0, author: UserID(rawValue: 1)) }
    }

    @Test func `what comes both ways is there once, newest first`() {
        let timeline = HomeTimeline(
            entries: references([5, 3, 1]),
            merged: references([4, 3]),
            floor: PostID(rawValue: 0)
        )

        #expect(timeline.posts == posts([5, 4, 3, 1]))
        #expect(timeline.isComplete)
    }

    @Test func `a timeline ends at its bound, whatever more is known`() {
        let timeline = HomeTimeline(
            entries: references(1...700),
            merged: references(701...1_500),
            floor: PostID(rawValue: 0)
        )

        #expect(timeline.posts == posts((701...1_500).reversed()))
        #expect(timeline.isComplete)
    }

    @Test func `nothing is shown from below the floor, and a shrunken feed says so`() {
        let timeline = HomeTimeline(
            entries: references([9, 8]),
            merged: references([7, 2, 1]),
            floor: PostID(rawValue: 5)
        )

        #expect(timeline.posts == posts([9, 8, 7]))
        #expect(!timeline.isComplete)
    }

    @Test func `pages of both directions cover a timeline without gap or repeat`() {
        let timeline = HomeTimeline(
            entries: references(1...50),
            merged: [],
            floor: PostID(rawValue: 0)
        )
        for limit in 1...60 {
            var down: [PostID] = []
            var request = PageRequest(limit: limit)
            while case let page = timeline.page(request).map(\.id), !page.isEmpty {
                down += page
                request.maxID = page.last?.rawValue
            }
            var up: [PostID] = []
            request = PageRequest(minID: 0, limit: limit)
            while case let page = timeline.page(request).map(\.id), !page.isEmpty {
                up = page + up
                request.minID = page.first?.rawValue
            }

            #expect(down == timeline.posts)
            #expect(up == timeline.posts)
        }
    }
}

struct KeptReadersTests {
    private func readers(_ numbers: some Sequence<Int>) -> [UserID] {
        numbers.map { UserID(rawValue: Int64($0)) }
    }

    @Test func `who was seen to be kept is known, everybody else is asked for`() {
        var kept = KeptReaders()
        kept.learn(readers([2, 4]), at: .zero)

        let split = kept.split(readers(1...4), at: .seconds(1))

        #expect(split.known == readers([2, 4]))
        #expect(split.asked == readers([1, 3]))
    }

    @Test func `a yes is forgotten within its lifetime, however often it is used`() {
        var kept = KeptReaders()
        kept.learn(readers([1]), at: .zero)

        for second in 0..<Int(KeptReaders.lifetime.components.seconds) {
            _ = kept.split(readers([1]), at: .seconds(second))
        }
        let split = kept.split(readers([1]), at: KeptReaders.lifetime)

        #expect(split.asked == readers([1]))
    }

    @Test func `a yes from before a long pause is forgotten`() {
        var kept = KeptReaders()
        kept.learn(readers([1]), at: .seconds(1))

        let split = kept.split(readers([1]), at: KeptReaders.lifetime * 10)

        #expect(split.asked == readers([1]))
    }

    @Test func `there is room for a bounded number, and the newest are among them`() {
        var kept = KeptReaders()
        for start in stride(from: 0, to: 3 * KeptReaders.limit, by: 10_000) {
            kept.learn(readers(start..<start + 10_000), at: .zero)
        }

        let split = kept.split(readers(0..<3 * KeptReaders.limit), at: .zero)

        #expect(split.known.count <= 2 * KeptReaders.limit)
        #expect(split.known.last == readers([3 * KeptReaders.limit - 1])[0])
    }
}
