"""TAOBench's workload A on our routes: open loop at shares of what a closed loop reaches.

The weights are those of its workload_a.json: operations 171 : 57 : 15 : 1, and within reads and writes as below. Posts are
read by Zipf 0.8. Of its transactions, a read of many objects is a page of 20 posts; a write of several is a post, which
writes its row, its count, the answer kept for its key and its effect together.

| TAOBench | weight | here |
| --- | --- | --- |
| read: object, point, range, count | 171 × (475, 68, 376, 39) | a post, a relationship, whom somebody follows, a profile |
| write: object add, update | 57 × (111, 214) | a post, an edit of one's own |
| write: edge add, update | 57 × (10, 380) | a like, the same like again |
| read transaction | 15 | the home timeline |
| write transaction | 1 | a post |
"""
from suite import mixes, mixing, worlds

ROUNDS, SECONDS = 3, 8
COLUMNS = mixing.COLUMNS
PLOTS = [worlds.latency_against_load("TAOBench workload A: latency against load")]


def run(frame):
    cluster, actions = worlds.small(frame)
    mixing.run(frame, "tao", cluster, mixes.tao(actions))
