"""A repository from a stranger runs no code in our door, unless it is trusted."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from repos import CAMERA, enter, exposure, raw_file

from fullwell.base.errors import UsageError
from fullwell.products import Flat
from fullwell.repo.ingest import ingest
from fullwell.repo.repository import Repository, create, open_repo
from fullwell.repo.trust import strange


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, night: Path) -> Path:
    repo = create(tmp_path_factory.mktemp("honest") / "repo")
    ingest(repo, [night], transfer="copy")
    enter(repo, raw_file(night, "flat_g"), Flat, 0.5)
    repo.close()
    return repo.path


@pytest.fixture
def stranger(honest: Path, tmp_path: Path) -> Path:
    """A repository that can be changed."""
    shutil.copytree(honest, tmp_path / "repo")
    return tmp_path / "repo"


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Puts a module `evil` where it can be imported; tells whether it ran."""
    mark, folder = tmp_path / "ran", tmp_path / "modules"
    folder.mkdir()
    (folder / "evil.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "from fullwell.repo.ondisk import FrameFormatter\n"
        "class Thing(FrameFormatter):\n    pass\n"
        "def function(x):\n    return x\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("evil", None)
    return mark.exists


def change(path: Path, how: Callable[[dict[str, Any]], None]) -> None:
    config = path / "butler.yaml"
    content = yaml.safe_load(config.read_text())
    how(content)
    config.write_text(yaml.safe_dump(content))


def put(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def how(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content.setdefault(key, {})
        content[keys[-1]] = value

    return how


FRAME = "fullwell.frames.frame.Frame"
CHANGES = {
    "type": put("storageClasses", "Evil", value={"pytype": "evil.Thing"}),
    "type without a dot": put("storageClasses", "Evil", value={"pytype": "evil"}),
    "delegate": put("storageClasses", "FullwellFrame", "delegate", value="evil.Thing"),
    "converter": put("storageClasses", "FullwellBias", "converters", FRAME, value="evil.function"),
    "converted type": put("storageClasses", "FullwellBias", "converters", "evil", value="fullwell.repo.ondisk.bias_of"),
    "formatter": put("datastore", "formatters", "FullwellFrame", value="evil.Thing"),
    "formatter with options": put("datastore", "formatters", "x", value={"formatter": "evil.Thing", "parameters": {}}),
    "default of formatters": put("datastore", "formatters", "default", value={"evil.Thing": {"recipe": "default"}}),
    "datastore": put("datastore", "cls", value="evil.Thing"),
    "manager": put("registry", "managers", "opaque", value="evil.Thing"),
    "engine": put("registry", "engines", value={"sqlite": "evil.Thing"}),
    "butler": put("cls", value="evil.Thing"),
    "chain": put("datastore", "datastores", value=[{"datastore": {"cls": "evil.Thing"}}]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_unknown_names_in_the_configuration(stranger: Path, ran: Callable[[], bool], what: str) -> None:
    change(stranger, CHANGES[what])
    with pytest.raises(UsageError) as refused:
        open_repo(stranger)
    assert refused.value.code == "FW613"
    assert refused.value.problem.endswith((": evil", ": evil.Thing", ": evil.function"))
    assert refused.value.where == str(stranger / "butler.yaml")
    assert "--trust" in str(refused.value.remedy)
    assert not ran()


def test_a_trusted_repository_may(stranger: Path, ran: Callable[[], bool]) -> None:
    change(stranger, CHANGES["datastore"])
    with pytest.raises(Exception, match=r"evil|defaultConfigFile|Thing"):
        open_repo(stranger, trust=True)
    assert ran()


@pytest.mark.parametrize("name", [
    "fullwell.repo.ondisk.os.system", "lsst.daf.butler._butler.os.system", "fullwell.cli.main.main", "numpy.memmap",
    "subprocess.Popen", "os", "builtins.exec", "lsst.utils.packages.subprocess.run", "lsst.daf.butler",
    "lsst.daf.butler.formatters.pickle.PickleFormatter", "lsst.daf.butler.formatters.packages.PackagesFormatter",
])  # fmt: skip
def test_roundabout_names_are_strange(name: str) -> None:
    assert strange([name]) == [name]


@pytest.mark.parametrize("name", [
    "fullwell.repo.ondisk.FrameFormatter", "dict", "numpy.ndarray", "astropy.table.Table", "astropy.wcs.WCS",
    "lsst.daf.butler.formatters.yaml.YamlFormatter", "lsst.afw.image.ExposureF", "lsst.obs.lsst.rawFormatter.Raw",
    "lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter",
])  # fmt: skip
def test_usual_names_are_known(name: str) -> None:
    assert strange([name]) == []


def test_unknown_names_in_the_database(stranger: Path, ran: Callable[[], bool]) -> None:
    with closing(sqlite3.connect(stranger / "gen3.sqlite3")) as base, base:
        key = "config:dimensions.json"
        (text,) = base.execute("SELECT value FROM butler_attributes WHERE name = ?", (key,)).fetchone()
        content = json.loads(text)
        content["skypix"]["healpix"]["class"] = "evil.Thing"
        base.execute("UPDATE butler_attributes SET value = ? WHERE name = ?", (json.dumps(content), key))
    with pytest.raises(UsageError) as refused:
        open_repo(stranger)
    assert refused.value.code == "FW613"
    assert "evil.Thing" in refused.value.problem
    assert not ran()


def test_unknown_names_in_a_server(postgres: str, tmp_path: Path, ran: Callable[[], bool]) -> None:
    from repos import drop
    from sqlalchemy import create_engine, text

    from fullwell.repo.secrets import driver_url

    schema = "t_trust"
    drop(postgres, [schema])
    path = create(tmp_path / "repo", db=postgres, namespace=schema).path
    engine = create_engine(driver_url(postgres))
    with engine.begin() as base:
        key = {"n": "config:dimensions.json"}
        content = json.loads(
            base.execute(text(f"SELECT value FROM {schema}.butler_attributes WHERE name = :n"), key).scalar_one()
        )
        content["skypix"]["htm"]["class"] = "evil.Thing"
        base.execute(
            text(f"UPDATE {schema}.butler_attributes SET value = :v WHERE name = :n"), {**key, "v": json.dumps(content)}
        )
    engine.dispose()
    with pytest.raises(UsageError, match=r"evil\.Thing"):
        open_repo(path)
    assert not ran()
    drop(postgres, [schema])


@pytest.mark.parametrize("formatter", ["evil.Thing", "lsst.daf.butler.formatters.pickle.PickleFormatter"])
def test_unknown_formatters_of_files(stranger: Path, ran: Callable[[], bool], formatter: str) -> None:
    with closing(sqlite3.connect(stranger / "gen3.sqlite3")) as base, base:
        base.execute("UPDATE file_datastore_records SET formatter = ?", (formatter,))
    repo = open_repo(stranger)
    number = exposure(repo, band="g")
    for call in (
        lambda: repo.get("flat", exposure=number, detector=0),
        lambda: repo.get("raw.image", exposure=number, detector=0),
        lambda: repo.get(next(iter(repo.butler.query_datasets("raw", f"{CAMERA}/raw/all")))),
    ):
        with pytest.raises(UsageError) as refused:
            call()
        assert formatter in refused.value.problem
        assert "reading this dataset" in refused.value.problem
    assert repo.product("flat", exposure=number, detector=0).kind == "flat"
    assert not ran()


def test_a_trusted_repository_reads_by_its_own_formatter(stranger: Path, ran: Callable[[], bool]) -> None:
    with closing(sqlite3.connect(stranger / "gen3.sqlite3")) as base, base:
        base.execute("UPDATE file_datastore_records SET formatter = 'evil.Thing'")
    repo: Repository = open_repo(stranger, trust=True)
    assert repo.get("flat", exposure=exposure(repo, band="g"), detector=0).image.array.mean() == 0.5
    assert ran()
