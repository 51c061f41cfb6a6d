"""DeathStarBench's social network mix on our routes: 60 % home timelines, 30 % profiles, 10 % posts.

Open loop at shares of what a closed loop reaches. 400 readers follow 50 of 5,000 people, who are popular by a power law;
nothing is kept warm on purpose: every post makes the pages of its followers stale.
"""
from suite import mixes, mixing, worlds

ROUNDS, SECONDS = 5, 8
COLUMNS = mixing.COLUMNS
PLOTS = [worlds.latency_against_load("DeathStarBench mix: latency against load")]


def run(frame):
    cluster, actions = worlds.small(frame)
    mixing.run(frame, "social", cluster, mixes.social(actions))
