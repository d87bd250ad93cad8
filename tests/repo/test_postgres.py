"""PostgreSQL: passwords that stay secret, and what is said where a server, an extension or a driver is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from repos import fresh

from fullwell.base.errors import FileError, UsageError
from fullwell.repo.ingest import ingest
from fullwell.repo.repository import create, open_repo
from fullwell.repo.secrets import driver_url, hidden, refuse_password

SECRET = "geheim-wort-17"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:geheim@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg2://me:ge@he:im@host:5432/db?x=1", "postgresql+psycopg2://me:***@host:5432/db?x=1"),
        ("host=h password=geheim user=x", "host=h password=*** user=x"),
        ("connect to postgresql://me:geheim@h/d failed, PASSWORD: 'ge heim'", None),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("https://host/a:b@c", "https://host/a:b@c"),
        ("password authentication failed for user 'me'", "password authentication failed for user 'me'"),
    ],
)
def test_passwords_are_hidden(text: str, shown: str | None) -> None:
    assert "heim" not in hidden(text)
    assert shown is None or hidden(text) == shown


@pytest.mark.parametrize(
    "url", [f"postgresql://me:{SECRET}@127.0.0.1/db", f"postgresql://me@127.0.0.1/db?password={SECRET}"]
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        create(tmp_path / "repo", db=url)
    assert refused.value.code == "FW610"
    assert SECRET not in str(refused.value)
    assert "db-auth.yaml" in str(refused.value.remedy)
    assert not (tmp_path / "repo").exists()


def test_a_url_without_a_password_is_let_through() -> None:
    refuse_password("postgresql://me@host:5432/db")
    assert driver_url("postgresql+psycopg://me@host/db") == "postgresql+psycopg2://me@host/db"


def test_the_password_is_in_no_file_and_no_output(postgres: str, night: Path, tmp_path: Path) -> None:
    from repos import drop

    secret = os.environ["PGPASSWORD"]
    schema = "t_secret"
    drop(postgres, [schema])
    place, out = tmp_path / "repo", ""
    for call in (
        ["create", place, "--db", postgres, "--namespace", schema],
        ["ingest", night, "--repo", place, "-vv"],
        ["ls", "datasets", "--repo", place, "--json", "-vv"],
        ["find", "flat", "exposure=1", "detector=0", "--repo", place, "-vv"],
    ):
        words = [sys.executable, "-m", "fullwell.cli", "repo", *map(str, call)]
        assert secret not in " ".join(words)
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        out += done.stdout + done.stderr
    assert '"dataset": "raw"' in out
    assert "does not know exposure=1" in out
    assert secret not in out
    texts = [p.read_bytes() for p in place.rglob("*") if p.is_file()]
    assert texts
    assert not any(secret.encode() in text for text in texts)
    drop(postgres, [schema])


def test_a_wrong_password(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with pytest.raises(FileError) as error:
        create(tmp_path / "repo", db=postgres, namespace="t_wrong")
    assert error.value.code == "FW181"
    assert "password authentication failed" in error.value.problem
    assert SECRET not in str(error.value)
    assert SECRET not in str(error.value.__cause__)
    assert not (tmp_path / "repo").exists()


def test_the_password_of_a_private_file(
    postgres: str, night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repos import drop

    drop(postgres, ["t_auth"])
    secret = tmp_path / "db-auth.yaml"
    secret.write_text(
        f'- url: "postgresql://127.0.0.1/*"\n  username: fullwell\n  password: {os.environ["PGPASSWORD"]}\n'
    )
    secret.chmod(0o600)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("LSST_DB_AUTH", str(secret))
    repo = create(tmp_path / "repo", db=postgres, namespace="t_auth")
    assert ingest(repo, [night]).ok
    repo.close()
    assert len(open_repo(tmp_path / "repo").butler.query_datasets("raw")) == 6
    secret.chmod(0o644)
    with pytest.raises(UsageError, match="incorrect permissions"):
        open_repo(tmp_path / "repo")
    secret.chmod(0o600)
    monkeypatch.setenv("PGPASSWORD", secret.read_text().split("password: ")[1].strip())
    monkeypatch.delenv("LSST_DB_AUTH")
    drop(postgres, ["t_auth"])


def test_a_database_without_the_extension(postgres: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        create(tmp_path / "repo", db=f"{postgres}_bare")
    assert error.value.code == "FW614"
    assert "btree_gist" in error.value.problem
    assert "CREATE EXTENSION btree_gist" in str(error.value.remedy)


def test_a_server_that_is_away(tmp_path: Path) -> None:
    pytest.importorskip("psycopg2")
    with pytest.raises(FileError) as error:
        create(tmp_path / "repo", db="postgresql://me@127.0.0.1:1/none")
    assert error.value.code == "FW181"
    assert "does not answer" in error.value.problem
    assert "Connection refused" in error.value.problem


def test_without_the_driver(tmp_path: Path) -> None:
    code = """
sys.modules["psycopg2"] = None
from fullwell.repo import create
from fullwell.base.errors import UsageError
try:
    create(sys.argv[1], db="postgresql://me@127.0.0.1:1/none")
except UsageError as error:
    print(error)
"""
    out = fresh(code, tmp_path / "repo").stdout
    assert "the driver of PostgreSQL is not installed" in out
    assert "pip install 'fullwell[postgres]'" in out


def test_a_namespace_without_a_database_is_refused_by_the_command(tmp_path: Path) -> None:
    words = ["repo", "create", tmp_path / "r", "--namespace", "x", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "fullwell.cli", *map(str, words)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["failures"][0]["error"] == "--namespace without --db"
