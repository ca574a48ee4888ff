"""``memfs cluster limits``: every limit is set, shown with its use, and taken back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_cluster import Command

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
LIMITS = [
    name
    for row in re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| .* \|$", PAGE.partition("## Limits")[2], re.M
    )
    for name in re.findall(r"`(\w+)`", row)
]
"""As the page lists them."""


def shown(cli: Command) -> list[dict[str, object]]:
    return [json.loads(line) for line in cli.ok("cluster", "limits", "show", "--json")]


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_set_shown_and_taken_back(cli: Command, name: str) -> None:
    used = [each for each in shown(cli) if each.get("name") == name]
    # What is used of it, and by whom; of a rate nobody has anything.
    assert bool(used) == (name != "requests_per_second")
    assert all({"node", "used", "limit", "total_limit", "heaviest"} <= each.keys() for each in used)
    cli.ok("cluster", "limits", "set", name, "7")
    cli.ok("cluster", "limits", "set", name, "9", "--of", "ann")
    rows = [(each["user"], each["value"]) for each in shown(cli) if each.get("set") == name]
    assert rows == [("", 7), ("ann", 9)]
    text = cli.ok("cluster", "limits")
    unit = " B" if name.endswith("_bytes") else ""
    assert f"set: {name} 7{unit} for everybody" in text, text
    assert f"set: {name} 9{unit} for ann" in text, text
    cli.ok("cluster", "limits", "clear", name)
    cli.ok("cluster", "limits", "clear", name, "--of", "ann")
    assert not [each for each in shown(cli) if each.get("set") == name]


def test_the_page_has_all_of_them(cli: Command) -> None:
    assert len(LIMITS) == 10
    refused = cli("cluster", "limits", "set", "no-such", "1")
    assert refused.status
    assert all(name in refused.err for name in LIMITS), refused.err
