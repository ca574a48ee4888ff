"""Every operation of Hadoop 3.5's enums is answered."""

from __future__ import annotations

import pytest

from memfs.gateway.hadoop.exceptions import SNAPSHOT, UNSUPPORTED, RemoteException
from memfs.gateway.operations import table as operations

GET = """OPEN GETFILESTATUS LISTSTATUS GETCONTENTSUMMARY GETQUOTAUSAGE GETFILECHECKSUM
GETHOMEDIRECTORY GETDELEGATIONTOKEN GET_BLOCK_LOCATIONS GETFILEBLOCKLOCATIONS GETACLSTATUS
GETXATTRS GETTRASHROOT GETTRASHROOTS LISTXATTRS GETALLSTORAGEPOLICY GETSTORAGEPOLICY GETECPOLICY
GETECPOLICIES GETECCODECS
LISTSTATUS_BATCH GETSERVERDEFAULTS CHECKACCESS GETSNAPSHOTDIFF GETSNAPSHOTDIFFLISTING
GETSNAPSHOTTABLEDIRECTORYLIST GETSNAPSHOTLIST GETLINKTARGET GETFILELINKSTATUS GETSTATUS"""
PUT = """CREATE MKDIRS CREATESYMLINK RENAME SETREPLICATION SETOWNER SETPERMISSION SETTIMES
RENEWDELEGATIONTOKEN CANCELDELEGATIONTOKEN MODIFYACLENTRIES REMOVEACLENTRIES REMOVEDEFAULTACL
REMOVEACL SETACL SETXATTR REMOVEXATTR ENABLEECPOLICY DISABLEECPOLICY SETECPOLICY ALLOWSNAPSHOT
DISALLOWSNAPSHOT CREATESNAPSHOT RENAMESNAPSHOT SETSTORAGEPOLICY SATISFYSTORAGEPOLICY SETQUOTA
SETQUOTABYSTORAGETYPE"""
POST = "APPEND CONCAT TRUNCATE UNSETSTORAGEPOLICY UNSETECPOLICY"
DELETE = "DELETE DELETESNAPSHOT"
ALL = {"GET": GET.split(), "PUT": PUT.split(), "POST": POST.split(), "DELETE": DELETE.split()}
MEANINGLESS = ("EC", "SNAPSHOT", "STORAGETYPE")
"""What the names of the operations have in common that memfs has no meaning for."""


def test_there_are_sixty_five() -> None:
    assert {method: len(names) for method, names in ALL.items()} == {
        "GET": 30,
        "PUT": 28,
        "POST": 5,
        "DELETE": 2,
    }


@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for method, names in ALL.items() for name in names]
)
def test_each_is_carried_out_or_unsupported(method: str, name: str) -> None:
    try:
        operations.find(method, name)
    except RemoteException as refusal:
        assert refusal.kind is (SNAPSHOT if "SNAPSHOT" in name else UNSUPPORTED)
        assert any(part in name for part in MEANINGLESS)


def test_nothing_else_is() -> None:
    for method, found in operations.OPERATIONS.items():
        assert set(found) <= set(ALL[method])


def test_head_is_get() -> None:
    assert operations.find("HEAD", "OPEN") is operations.find("GET", "OPEN")


@pytest.mark.parametrize(
    ("method", "name", "status"), [("GET", "", 400), ("GET", "CREATE", 400), ("PATCH", "X", 405)]
)
def test_the_rest_is_refused(method: str, name: str, status: int) -> None:
    with pytest.raises(RemoteException) as caught:
        operations.find(method, name)
    assert caught.value.status == status
