import Counters
import Sharding
import Testing

struct ReconcileWalkTests {
    @Test func `walks together see each bucket and each kind once a round`() {
        var seen: [[Int]: Int] = [:]
        for first in 0..<3 {
            var walk = ReconcileWalk(first: first, stride: 3, startingAt: 500)
            while walk.rounds == 0 {
                seen[[walk.bucket, walk.kind], default: 0] += 1
                walk.advance(last: nil, kinds: 2)
            }
            // From where it began to where that was again.
            while walk.bucket < ReconcileWalk(first: first, stride: 3, startingAt: 500).bucket {
                seen[[walk.bucket, walk.kind], default: 0] += 1
                walk.advance(last: nil, kinds: 2)
            }
        }

        #expect(seen.count == BucketID.count * 2)
        #expect(seen.values.allSatisfy { $0 == 1 })
    }

    @Test func `a bucket is walked through to its end before the next kind`() {
        var walk = ReconcileWalk(startingAt: 7)

        walk.advance(last: 50, kinds: 2)
        #expect(walk.after == 50 && walk.kind == 0 && walk.bucket == 7)
        walk.advance(last: nil, kinds: 2)
        #expect(walk.after == 0 && walk.kind == 1 && walk.bucket == 7)
        walk.advance(last: 9, kinds: 2)
        walk.skipBucket()
        #expect(walk.after == 0 && walk.kind == 0 && walk.bucket == 8)
    }

    @Test func `steps take their share of the time, within bounds`() {
        #expect(ReconcileWalk.pause(after: .milliseconds(20), percent: 2) == .milliseconds(980))
        #expect(ReconcileWalk.pause(after: .zero, percent: 50) == ReconcileWalk.leastPause)
        #expect(ReconcileWalk.pause(after: .seconds(60), percent: 1) == ReconcileWalk.longestPause)
        #expect(ReconcileWalk.pause(after: .seconds(60), percent: 100) == ReconcileWalk.leastPause)
    }
}
