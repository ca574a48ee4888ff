"""The walk-through of ``docs/stores.md``, word for word, on a bucket of an S3 server."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from cli_cluster import Command

import memfs.limits
from tests.support.stores.s3_servers import KEY, SECRET, moto

PAGE = Path(memfs.limits.__file__).parents[1] / "docs" / "stores.md"
OBJECTS = {
    "labels.txt": b"0 tench\n1 goldfish\n",
    "train/0001.tar": bytes(9_000_000),
    "train/0002.tar": bytes(5_000_000),
}
TIME = re.compile(r"[A-Z][a-z]{2} [ \d]\d  ?[\d:]{4,5}")


def steps() -> list[tuple[list[str], list[str]]]:
    """Commands of the section's first block, and what each prints."""
    section = PAGE.read_text().partition("## A walk-through")[2]
    block = section.partition("```console\n")[2].partition("```")[0].replace("\\\n", "")
    found: list[tuple[list[str], list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ memfs "):
            found.append((shlex.split(line)[2:], []))
        else:
            found[-1][1].append(line)
    return found


def without_times(lines: list[str]) -> list[str]:
    return [TIME.sub("TIME", line) for line in lines]


def test_the_walk_through(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = tmp_path / "keys"
    keys.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    with moto(tmp_path) as s3:
        s3.client.create_bucket(Bucket="bucket")
        for key, data in OBJECTS.items():
            s3.client.put_object(Bucket="bucket", Key=f"imagenet/{key}", Body=data)

        def here(text: str) -> str:
            return text.replace("http://s3:9000", s3.endpoint).replace("/etc/memfs/keys", str(keys))

        done = steps()
        assert [words[0] for words, _ in done].count("ls") == 3
        for words, printed in done:
            said = cli.ok(*map(here, words))
            assert without_times(said) == without_times(list(map(here, printed))), words
        assert (tmp_path / "0001.tar").read_bytes() == OBJECTS["train/0001.tar"]
        kept = s3.client.list_objects_v2(Bucket="bucket")["Contents"]
        assert {each["Key"] for each in kept} == {f"imagenet/{key}" for key in OBJECTS}
