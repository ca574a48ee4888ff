"""Parameters of a request, read as HDFS reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.gateway.hadoop.exceptions import RemoteException
from memfs.gateway.hadoop.parameters import USER, Parameters


def refused(call: object, *arguments: object) -> RemoteException:
    with pytest.raises(RemoteException) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value


def test_names_are_case_insensitive_and_the_first_counts() -> None:
    found = Parameters("OP=open&user.name=a&User.Name=b&x")
    assert found.text("op") == "open"
    assert found.text("user.name") == "a"
    assert found.all("user.name") == ["a", "b"]
    assert "x" not in found


def test_a_plus_in_the_query_is_a_space_and_decoding_happens_once() -> None:
    found = Parameters("destination=%2Fa+b%2Fper%2520cent&sources=/%C3%A9,/b")
    assert found.path("destination", "RENAME") == "/a b/per%20cent"
    assert found.paths("sources", "CONCAT") == ["/é", "/b"]


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
def test_booleans_in_any_case(value: str) -> None:
    assert Parameters(f"recursive={value}").flag("recursive")
    assert not Parameters("recursive=").flag("recursive")
    assert Parameters("").flag("createparent", True)


def test_a_bad_boolean_names_its_parameter() -> None:
    error = refused(Parameters("recursive=1").flag, "recursive")
    assert error.status == 400
    assert error.message.startswith('Invalid value for webhdfs parameter "recursive": ')


def test_numbers() -> None:
    found = Parameters("offset=12&length=null&blocksize=0&buffersize=x&big=99999999999999999999")
    assert found.whole("offset", 0, 0) == 12
    assert found.whole("length", 7, 0) == 7
    assert "0 < 1" in refused(found.whole, "blocksize", 1, 1).message
    assert 'Failed to parse "x"' in refused(found.whole, "buffersize", 1, 1).message
    assert refused(found.whole, "big", 1, 1).status == 400


def test_what_nothing_needs_is_checked_as_well() -> None:
    Parameters("buffersize=1").check_unused()
    Parameters("buffersize=null").check_unused()
    Parameters("noredirect=true").check_unused()
    assert refused(Parameters("noredirect=x").check_unused).status == 400
    for value in ("0", "-1", "x", str(1 << 31)):
        assert refused(Parameters(f"buffersize={value}").check_unused).status == 400


@pytest.mark.parametrize("value", ["-1", "9223372036854775808", "1e3", "0x10", " 1"])
def test_numbers_at_the_edge_are_refused(value: str) -> None:
    assert refused(Parameters(f"offset={value}").whole, "offset", 0, 0).status == 400


def test_permissions_are_octal_up_to_1777() -> None:
    assert Parameters("permission=1777").permission(0) == 0o1777
    assert Parameters("").permission(0o644) == 0o644
    message = refused(Parameters("permission=2000").permission, 0).message
    assert message.endswith("Invalid parameter range: permission = 2000 > 1777")
    message = refused(Parameters("permission=8").permission, 0).message
    assert message.endswith('Failed to parse "8" as a radix-8 short integer.')


def test_required() -> None:
    error = refused(Parameters("destination=").required, "destination", "RENAME")
    assert error.message == "Required param destination for op: RENAME is null or empty"


def test_paths_are_absolute() -> None:
    assert refused(Parameters("destination=a").path, "destination", "RENAME").status == 400


def test_choices() -> None:
    known = frozenset({"NONE", "OVERWRITE"})
    assert Parameters("renameoptions=none,Overwrite").choices("renameoptions", known) == known
    assert not Parameters("").choices("renameoptions", known)
    assert refused(Parameters("renameoptions=x").choices, "renameoptions", known).status == 400


@pytest.mark.parametrize("user", ["bob", "_x", "a.b-c$"])
def test_user_names(user: str) -> None:
    assert Parameters(f"user.name={user}").matching("user.name", USER) == user


@pytest.mark.parametrize("user", ["1a", "a/b", "a%0Ab", "a$b"])
def test_bad_user_names(user: str) -> None:
    assert refused(Parameters(f"user.name={user}").matching, "user.name", USER).status == 400


def test_invalid_utf8_is_refused() -> None:
    assert refused(Parameters, "user.name=%FF").status == 400


@given(st.text())
def test_whatever_comes_is_parsed_or_refused(query: str) -> None:
    try:
        Parameters(query)
    except RemoteException as error:
        assert error.status == 400
