"""What may pass and what cannot; how long to wait."""

from __future__ import annotations

import errno
import os

import pytest

from fullwell.base.errors import DataError, FileError, FullwellError, WorkerError
from fullwell.pipeline.jobs import Input, Job, Output
from fullwell.pipeline.retry import RetryPolicy, describe, halts, passes


def system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def wrapped(outer: Exception, cause: BaseException) -> Exception:
    try:
        raise outer from cause
    except type(outer) as err:
        return err


class OperationalError(Exception):
    """As the libraries of databases call it."""


@pytest.mark.parametrize(
    "err",
    [
        system(errno.EIO),
        system(errno.ESTALE),
        system(errno.ENOENT),
        OSError("no number"),
        ConnectionResetError("gone"),
        TimeoutError("late"),
        MemoryError(),
        OperationalError("server closed the connection"),
        wrapped(FileError("cannot be read"), system(errno.EIO)),
        wrapped(WorkerError("the index is away"), OperationalError("x")),
        wrapped(FileError("the database does not answer"), OperationalError("x")),
    ],
    ids=repr,
)
def test_may_pass(err: Exception) -> None:
    assert passes(err) and not halts(err)


@pytest.mark.parametrize(
    "err",
    [
        ValueError("x"),
        ZeroDivisionError(),
        DataError("saturated"),
        FileError("the file ends early"),
        wrapped(FileError("no FITS"), OSError("Header missing END card")),
        wrapped(DataError("saturated"), system(errno.EIO)),
        system(errno.EACCES),
        system(errno.EISDIR),
        FullwellError("x"),
    ],
    ids=repr,
)
def test_stays(err: Exception) -> None:
    assert not passes(err) and not halts(err)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_concerns_all(number: int) -> None:
    for err in (system(number), wrapped(FileError("cannot write"), system(number))):
        assert halts(err) and not passes(err)


def test_a_database_whose_disk_is_full_concerns_all() -> None:
    full = OperationalError("(sqlite3.OperationalError) database or disk is full")
    for err in (full, wrapped(FileError("the database cannot be written"), full)):
        assert halts(err) and not passes(err)


def test_what_is_unrelated_to_the_error_does_not_count() -> None:
    try:
        try:
            raise system(errno.EIO)
        except OSError:
            raise FileError("the header is damaged") from None
    except FileError as err:
        assert not passes(err)


def test_waits_double_to_a_limit_with_some_jitter() -> None:
    policy = RetryPolicy(first=1.0, longest=6.0, jitter=0.25, seed=3)
    for attempt, base in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 6.0), (9, 6.0)):
        waits = [policy.wait(f"job{n}", attempt) for n in range(200)]
        assert all(0.75 * base <= w <= 1.25 * base for w in waits)
        # uniform of half-width 0.25 base: sigma of the mean of 200 is 0.25 / sqrt(3) / sqrt(200) = 0.0102
        assert abs(sum(waits) / 200 / base - 1) < 4 * 0.0102
        assert len(set(waits)) == 200
    assert policy.wait("a", 2) == RetryPolicy(first=1.0, longest=6.0, seed=3).wait("a", 2)
    assert policy.wait("a", 2) != RetryPolicy(first=1.0, longest=6.0, seed=4).wait("a", 2)


def test_a_failure_says_what_is_needed_to_repeat_it() -> None:
    job = Job("j", "isr", (Input("raw", "id1", "/a.fits"),), (Output("x", "o", "/b", {"detector": 3}),))
    try:
        raise DataError("saturated", where="a.fits[2]", remedy="expose less")
    except DataError as err:
        failure = describe(err, job, worker="h:1")
    assert (failure.kind, failure.code, failure.problem) == ("DataError", "FW400", "saturated")
    assert (failure.where, failure.remedy) == ("a.fits[2]", "expose less")
    assert "test_retry.py" in failure.traceback
    context = failure.context
    assert context["job"] == "j" and context["worker"] == "h:1" and context["pid"] == os.getpid()
    assert context["data_ids"] == [{"detector": 3}] and context["inputs"] == {"/a.fits": "id1"}
    assert set(context["versions"]) == {"python", "fullwell", "numpy", "scipy", "numba", "astropy"}
    bug = describe(ZeroDivisionError())
    assert (bug.kind, bug.code, bug.problem) == ("ZeroDivisionError", "", "ZeroDivisionError")


def test_a_record_of_failure_holds_no_password() -> None:
    try:
        try:
            raise RuntimeError("connect postgresql://me:geheim@host/db")
        except RuntimeError as error:
            raise DataError("no answer", where="postgresql://me:geheim@host/db") from error
    except DataError as error:
        told = describe(error)
    assert "geheim" not in str(told.to_dict())
    assert told.where == "postgresql://me:***@host/db" and "connect postgresql://me:***@host/db" in told.traceback
