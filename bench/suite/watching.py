"""Looking into a cluster's shards over and over, without a new connection each time."""
import http.client
import json
import subprocess
import time

from frame import Unavailable


class Prompt:
    """One session of psql that stays open."""

    def __init__(self, cluster, shard):
        self._process = subprocess.Popen(
            [*cluster.site.psql_command(shard), "-XqAt", "-v", "ON_ERROR_STOP=1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            env=cluster.site.environment)

    def ask(self, query):
        """The one line that a query answers."""
        self._process.stdin.write(query + ";\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable("psql ended")
        return line.strip()

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)


class Entries:
    """Counts the feed entries of a post on all shards."""

    def __init__(self, cluster):
        self._prompts = [Prompt(cluster, shard) for shard in cluster.shards]

    def of(self, post):
        return sum(int(prompt.ask(f"SELECT count(*) FROM feed.entry WHERE post_id = {post}"))
                   for prompt in self._prompts)

    def wait(self, post, wanted, seconds=180, every=0.002):
        """Returns when as many entries are there; the time is the caller's to take."""
        deadline = time.monotonic() + seconds
        while (found := self.of(post)) < wanted:
            if time.monotonic() > deadline:
                raise Unavailable(f"{found} of {wanted} entries after {seconds} s")
            time.sleep(every)

    def close(self):
        for prompt in self._prompts:
            prompt.close()


class Deliveries:
    """Looks for effects of the feed that wait or are under way."""

    def __init__(self, cluster):
        self._prompts = [Prompt(cluster, shard) for shard in cluster.shards]

    def wait(self, seconds=180, every=0.005):
        """Returns when there is none on any shard."""
        deadline = time.monotonic() + seconds
        query = "SELECT EXISTS (SELECT FROM jobs.outbox WHERE kind LIKE 'feed.%')"
        # Ranges of followers are enqueued in the transaction that completes their post: there is no gap between.
        while any(prompt.ask(query) == "t" for prompt in self._prompts):
            if time.monotonic() > deadline:
                raise Unavailable(f"deliveries are not done after {seconds} s")
            time.sleep(every)

    def close(self):
        for prompt in self._prompts:
            prompt.close()


class Caller:
    """One kept connection of one person."""

    def __init__(self, port, token=None):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, method, path, key=None, **fields):
        headers = dict(self._headers)
        if key:
            headers["Idempotency-Key"] = key
        if fields:
            headers["Content-Type"] = "application/json"
        self._connection.request(method, path, json.dumps(fields) if fields else None, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise Unavailable(f"{method} {path} answered {answer.status}: {text[:300]!r}")
        return json.loads(text)

    def publish(self, text, key):
        return int(self.call("POST", "/api/v1/statuses", key, status=text)["id"])

    def home(self, limit=20):
        return [int(post["id"]) for post in self.call("GET", f"/api/v1/timelines/home?limit={limit}")]
