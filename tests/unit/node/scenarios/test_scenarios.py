"""Every scenario prints what stands below its commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from memfs.testing.simulation.virtual import run
from tests.unit.node.scenarios import script
from tests.unit.node.scenarios.stage import Stage

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*/*.txt"))


def performed(steps: list[script.Step]) -> list[list[str]]:
    """What each step prints."""

    async def main() -> list[list[str]]:
        stage = Stage()
        outputs = []
        with stage.events.recorded():
            for step in steps:
                lines: list[str] = []
                for command in step.commands:
                    lines += await stage.run(command)
                outputs.append(lines)
        return outputs

    return run(main())


def test_the_readme_names_every_command() -> None:
    text = (HERE / "README.md").read_text()
    commands = [name.removeprefix("do_") for name in vars(Stage) if name.startswith("do_")]
    assert [name for name in commands if f"`{name}" not in text] == []


def test_a_file_is_written_as_it_was_read() -> None:
    text = "# Why.\n\nrun 1s\n----\nok\n\n# More.\n\ncrash a\nrun 2s\n----\n  1.0 a b\n"
    steps = script.parse(text)
    assert script.write(steps, [[], ["  1.0 a b"]]) == text
    with pytest.raises(ValueError, match="line 2"):
        script.parse("run 1s\n")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HERE)))
def test_scenario(file: Path, request: pytest.FixtureRequest) -> None:
    text = file.read_text()
    steps = script.parse(text)
    again = script.write(steps, performed(steps))
    if request.config.getoption("--record"):
        file.write_text(again)
    else:
        assert again == text, "if that is right: pytest tests/unit/node/scenarios --record"
