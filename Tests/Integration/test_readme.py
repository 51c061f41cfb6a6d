"""The README's own example, as a newcomer types it."""
import json
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADING = "## A post that a follower sees"
# A follower sees a post after milliseconds; the machine of a test may be busy for seconds.
PATIENCE = "sleep 5"


def example():
    text = (ROOT / "README.md").read_text(encoding="utf-8").split(HEADING, 1)[1]
    return re.search(r"```sh\n(.*?)```", text, re.DOTALL).group(1)


def documents(text):
    """The JSON documents that curl printed one after the other."""
    while text := text.lstrip():
        document, end = json.JSONDecoder().raw_decode(text)
        yield document
        text = text[end:]


def test_the_example_puts_a_photo_into_the_timeline_of_a_follower(site, tmp_path):
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "sample.jpg", tmp_path / "docs")
    script = re.sub(r"^SITE=.*$", f"SITE={site.url}", example(), flags=re.MULTILINE)
    assert "\nsleep 1\n" in script

    answer = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("sleep 1", PATIENCE)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert answer.returncode == 0, answer.stderr
    *_, home = documents(answer.stdout)
    assert home[0]["content"] == "<p>My first tile</p>"
    assert home[0]["media_attachments"][0]["description"] == "Two tiles of a mosaic"
