"""Passwords of databases: never in a repository, a message, a log or the list of processes."""

from __future__ import annotations

import re

from fullwell.base.errors import UsageError

__all__ = ["driver_url", "hidden", "refuse_password"]

_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s:/@]*):(?P<secret>[^\s/]*)@", re.I)
_NAMED = re.compile(r"(password|passwd|pwd)(\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,;&)]+)", re.I)


def hidden(text: str) -> str:
    """`text` with the passwords of URLs and of ``password=…`` replaced by ``***``.

    >>> hidden("postgresql://me:geheim@host/db"), hidden("password=geheim host=x")
    ('postgresql://me:***@host/db', 'password=*** host=x')
    """
    return _NAMED.sub(r"\1\2***", _PASSWORD.sub(r"\g<head>:***@", text))


def refuse_password(url: str) -> None:
    """Refuse the URL of a database that holds a password.

    Raises
    ------
    UsageError
        it does; the message does not repeat it.
    """
    if _PASSWORD.search(url) or _NAMED.search(url):
        raise UsageError(
            "the URL of the database holds a password",
            where=hidden(url),
            remedy="leave it out; put it into ~/.lsst/db-auth.yaml (mode 600), ~/.pgpass or PGPASSWORD, which the "
            "driver reads",
            code="FW610",
        )


def driver_url(url: str) -> str:
    """A PostgreSQL URL that names the driver that the library works with, whatever version of SQLAlchemy reads it.

    >>> driver_url("postgresql://me@host/db")
    'postgresql+psycopg2://me@host/db'
    """
    return re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql+psycopg2://", url)
