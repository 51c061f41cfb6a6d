"""Fan-out of an author with 100,000 followers beside the raw insert limit; what is compared stands in fanout.py."""
from . import fanout

ROUNDS = 5
FOLLOWERS, POSTS = 100_000, 2
GOALS = [{"text": "Fan-out to 100,000 followers beside raw inserts", "variant": "tessera", "metric": "rows_s",
          "peer": "c-skip", "least": 0.8}]


def run(frame):
    fanout.compare(frame, "fanout-large", FOLLOWERS, 1 if frame.options.quick else POSTS)
