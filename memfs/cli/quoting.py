"""Names as GNU's commands quote them for a shell (``shell-escape``). Pure.

What is between quotes can be pasted into a shell and means the name, whatever is in it: nothing
of a name reaches a terminal raw.
"""

from __future__ import annotations

import re
from itertools import groupby

_SPECIAL = frozenset("!\"$&'()*;<=>?[\\^`| ")
"""Characters with a meaning for the shell anywhere in a word."""
_AT_THE_START = frozenset("#~")
_IN_DOUBLE_QUOTES = re.compile(r"[\w %+,\-./:@\]']", re.ASCII)
_SHORT = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def shell_quoted(name: str, always: bool = True) -> str:
    """``'name'``; with a quote in it ``"it's"``, with control characters ``'a'$'\\n''b'``.

    Unless ``always``, only where a shell needs it.
    """
    if not always and name and not _needs_quotes(name):
        return name
    if "'" in name and _plain_between_double_quotes(name):
        return f'"{name}"'
    runs = [(hidden, "".join(run)) for hidden, run in groupby(name, _hidden)]
    shown = "" if runs and not runs[0][0] else "''"
    for at, (hidden, run) in enumerate(runs):
        if hidden:
            shown += "$'" + "".join(map(_escape, run)) + "'"
        else:
            text = "'" + run.replace("'", "'\\''") + "'"
            shown += text.removeprefix("''") if at else text
    return shown


def c_quoted(name: str) -> str:
    """``"name"`` as C has it, what is not printable as ``\\n`` or octal numbers (``ls -Q``)."""
    return '"' + "".join(map(_escape_in_c, name)) + '"'


def _escape_in_c(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return _escape(character) if _hidden(character) else character


def _needs_quotes(name: str) -> bool:
    return (
        name[0] in _AT_THE_START
        or name in ("{", "}")
        or not _SPECIAL.isdisjoint(name)
        or any(map(_hidden, name))
    )


def _plain_between_double_quotes(name: str) -> bool:
    rest = name[1:] if name[0] in _AT_THE_START else name
    return all(
        _IN_DOUBLE_QUOTES.fullmatch(each) or (not each.isascii() and not _hidden(each))
        for each in rest
    )


def _hidden(character: str) -> bool:
    return not character.isprintable()


def _escape(character: str) -> str:
    """One that is not printable, as bash writes it between ``$'`` and ``'``."""
    if character in _SHORT:
        return _SHORT[character]
    raw = character.encode("utf-8", "surrogateescape")
    return "".join(f"\\{byte:03o}" for byte in raw)


def in_a_line(text: str) -> str:
    """A message with ``?`` for controls: it may hold names, and is one line whatever they hold."""
    return "".join([each if each.isprintable() else "?" for each in text])
