"""Scenario files: commands and, below each, what it must print. Parsed and written, nothing else.

The format is that of data-driven tests as etcd-io/raft has them::

    # A comment, as many lines as it takes.
    command argument key=value
    ----
    what it printed

A command that prints nothing has ``ok`` below it. Blank lines separate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RULE = "----"
SILENT = "ok"


@dataclass
class Step:
    """Commands that run one after another, and what they print together."""

    comment: list[str]
    commands: list[str]
    expected: list[str] = field(default_factory=list)
    line: int = 0
    """Where the first command stands, from 1."""


def parse(text: str) -> list[Step]:
    """The steps of a file, in order. Raises ValueError for what is no such file."""
    steps: list[Step] = []
    comment: list[str] = []
    commands: list[str] = []
    output: list[str] | None = None
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if output is not None and line:
            output.append(line)
        elif output is not None:
            steps[-1].expected, output = output, None
        elif line == RULE:
            if not commands:
                raise ValueError(f"line {number}: output of no command")
            steps.append(Step(comment, commands, line=number - len(commands)))
            comment, commands, output = [], [], []
        elif line.startswith("#") or not line:
            if commands:
                raise ValueError(f"line {number}: a command without {RULE} below it")
            comment.append(line)
        else:
            commands.append(line)
    return steps


def write(steps: list[Step], outputs: list[list[str]]) -> str:
    """The file again, with these outputs."""
    lines: list[str] = []
    for step, output in zip(steps, outputs, strict=True):
        lines += [*step.comment, *step.commands, RULE, *(output or [SILENT]), ""]
    return "\n".join(lines).rstrip() + "\n"
