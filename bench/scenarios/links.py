"""LinkBench's mix on our routes: open loop at shares of what a closed loop reaches.

The shares are those of its FBWorkload.properties. A node is a post, a link is a like or a follow. Posts are read by Zipf 0.8,
as there, people evenly; no counter, list or post is kept warm on purpose.

| LinkBench | share | here |
| --- | --- | --- |
| get_link_list | 50.7 | whom a person follows, 40 of them (half), or who likes a post (half) |
| get_node | 12.9 | one post |
| add_link | 9.0 | a like |
| update_link | 8.0 | the same person likes the same post again |
| update_node | 7.4 | an edit of one's own post |
| count_link | 4.9 | a profile, which shows its three counts |
| delete_link | 3.0 | a like is taken back |
| add_node | 2.6 | a new post |
| delete_node | 1.0 | one's own post is deleted |
| get_link | 0.5 | the relationship to one person |
"""
from suite import mixes, mixing, worlds

ROUNDS, SECONDS = 3, 8
COLUMNS = mixing.COLUMNS
PLOTS = [worlds.latency_against_load("LinkBench mix: latency against load")]


def run(frame):
    cluster, actions = worlds.small(frame)
    mixing.run(frame, "links", cluster, mixes.links(actions))
