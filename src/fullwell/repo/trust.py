"""What a repository makes Python import: only names that are known, unless the user trusts the repository.

The library imports the classes that a repository names: in ``butler.yaml`` (managers, datastore, formatters, storage
classes, converters), in its database (formatters of files, pixelizations of the sky). A name is code that runs. Known
are the names that fullwell writes, those of the library's own configuration, and of names of Rubin's stack those whose
package is not installed, which cannot run. Formatters that unpickle are never known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import UsageError
from fullwell.repo.layout import seed_config

if TYPE_CHECKING:
    from lsst.daf.butler import ButlerConfig

__all__ = ["check_config", "check_database", "check_formatters", "strange"]

CODE = "FW613"

_NAMING = frozenset({"cls", "class", "class_name", "pytype", "delegate", "assembler", "formatter"})
_TABLES = frozenset({"formatters", "managers", "converters", "engines"})
_PLAIN = frozenset({"db", "host", "port", "database", "username", "namespace", "root", "templates", "name", "table"})
_REGISTRY = "lsst.daf.butler.registry"
_LIBRARY = frozenset({
    "lsst.daf.butler.datastores.fileDatastore.FileDatastore",
    "lsst.daf.butler.formatters.json.JsonFormatter",
    f"{_REGISTRY}.attributes.DefaultButlerAttributeManager",
    f"{_REGISTRY}.collections.nameKey.NameKeyCollectionManager",
    f"{_REGISTRY}.collections.synthIntKey.SynthIntKeyCollectionManager",
    f"{_REGISTRY}.datasets.byDimensions.ByDimensionsDatasetRecordStorageManagerUUID",
    f"{_REGISTRY}.bridge.monolithic.MonolithicDatastoreRegistryBridgeManager",
    f"{_REGISTRY}.dimensions.static.StaticDimensionRecordStorageManager",
    f"{_REGISTRY}.opaque.ByNameOpaqueTableStorageManager",
    f"{_REGISTRY}.obscore.ObsCoreLiveTableManager",
    f"{_REGISTRY}.obscore.default_spatial.DefaultSpatialObsCorePlugin",
    f"{_REGISTRY}.obscore.pgsphere.PgSphereObsCorePlugin",
    f"{_REGISTRY}.dimensions.caching.CachingDimensionRecordStorage",
    f"{_REGISTRY}.dimensions.governor.BasicGovernorDimensionRecordStorage",
    f"{_REGISTRY}.dimensions.query.QueryDimensionRecordStorage",
    f"{_REGISTRY}.dimensions.table.TableDimensionRecordStorage",
    "lsst.daf.butler.instrument.ObservationDimensionPacker",
    "lsst.sphgeom.HealpixPixelization",
    "lsst.sphgeom.HtmPixelization",
    "lsst.sphgeom.Mq3cPixelization",
    "lsst.sphgeom.Q3cPixelization",
})  # fmt: skip
"""Names of the library that the usual repositories hold."""

_UNPICKLING = frozenset({
    "lsst.daf.butler.formatters.packages.PackagesFormatter",
    "lsst.daf.butler.formatters.pickle.PickleFormatter",
})  # fmt: skip
"""They run what a file says."""


@cache
def _ours() -> frozenset[str]:
    return frozenset(_names(seed_config()))


@cache
def _defaults() -> frozenset[str]:
    """Names in the library's own configuration files, those of earlier versions of the dimensions included."""
    from importlib.resources import as_file, files

    from lsst.daf.butler import ButlerConfig, Config

    found = set(_names(ButlerConfig(Config()).toDict()))
    with as_file(files("lsst.daf.butler") / "configs") as folder:
        for path in (folder / "dimensions.yaml", *sorted((folder / "old_dimensions").glob("*.yaml"))):
            found |= set(_names(Config(str(path)).toDict()))
    return frozenset(found) - _UNPICKLING


def _dotted(text: str) -> bool:
    parts = text.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def _names(node: Any, table: str = "") -> Iterator[str]:
    """All that a configuration names to be imported: whatever is dotted, and any text where a class stands."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            word = str(key)
            if word in _PLAIN:
                continue
            if _dotted(word) or table == "converters":
                yield word
            if isinstance(value, str):
                if word in _NAMING or table or _dotted(value):
                    yield value
            else:
                yield from _names(value, word if word in _TABLES else "")
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _names(value if not isinstance(value, str) or not _dotted(value) else {"cls": value})


def _absent(name: str) -> bool:
    """Whether a name of Rubin's stack cannot be imported here, so that it cannot run either."""
    parts = name.split(".")
    if parts[0] != "lsst" or len(parts) < 3 or not _dotted(name):
        return False
    try:
        found = find_spec(".".join(parts[:2]))
    except (ImportError, ValueError):
        return True
    return found is None or type(found.loader).__module__.startswith("fullwell.")


def strange(names: Iterable[str]) -> list[str]:
    """Those of the names that are not known."""
    some = sorted({n for n in names if n not in _ours() and n not in _LIBRARY})
    return [n for n in some if n not in _defaults() and not _absent(n)]


def _refuse(names: list[str], where: str, what: str) -> None:
    if names:
        raise UsageError(
            f"the repository names code that fullwell does not know, and {what} would run it: {', '.join(names[:5])}"
            + (f" and {len(names) - 5} more" if len(names) > 5 else ""),
            where=where,
            remedy="if you trust whoever made it, open it with trust=True (command line: --trust)",
            code=CODE,
        )


def check_config(path: Path) -> None:
    """Refuse a ``butler.yaml`` that names unknown code.

    Raises
    ------
    UsageError
        it does; names it.
    """
    from lsst.daf.butler import Config

    _refuse(strange(_names(Config(str(path)).toDict())), str(path), "opening it")


def check_database(config: ButlerConfig) -> None:
    """Refuse a database whose stored configuration names unknown code.

    Parameters
    ----------
    config : whole configuration of the repository.

    Raises
    ------
    UsageError
        it does; names it.
    """
    found = [name for text in _stored(config) for name in _names(json.loads(text))]
    _refuse(strange(found), "the repository's database, table butler_attributes", "opening it")


_QUERY = "SELECT value FROM {} WHERE name LIKE 'config:%.json'"


def _stored(config: ButlerConfig) -> list[str]:
    """The JSON texts that the library reads from the database when it opens; none where there is no such table."""
    from lsst.daf.butler.registry import RegistryConfig

    registry = RegistryConfig(config)
    registry.replaceRoot(config.configDir)
    url = registry.connectionString
    if url.get_backend_name() == "sqlite":
        return _stored_sqlite(str(url.database))
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(url, poolclass=NullPool)
    schema = registry.get("namespace")
    with engine.connect() as connection:
        if not inspect(connection).has_table("butler_attributes", schema=schema):
            return []
        table = engine.dialect.identifier_preparer.quote("butler_attributes")
        if schema:
            table = f"{engine.dialect.identifier_preparer.quote(schema)}.{table}"
        return [str(row[0]) for row in connection.execute(text(_QUERY.format(table)))]


def _stored_sqlite(path: str) -> list[str]:
    import sqlite3
    from contextlib import closing

    if not Path(path).is_file():
        return []
    with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return [str(row[0]) for row in connection.execute(_QUERY.format("butler_attributes"))]
        except sqlite3.OperationalError:
            return []


def check_formatters(ref: Any) -> None:
    """Refuse to read a dataset by a formatter that is not known.

    Parameters
    ----------
    ref : reference with the datastore's records.

    Raises
    ------
    UsageError
        the record of its file names one.
    """
    records = [info for some in (ref._datastore_records or {}).values() for info in some]
    found = [str(getattr(info, "formatter", "")) for info in records]
    _refuse(strange(n for n in found if n), f"{ref.datasetType.name} {ref.id}", "reading this dataset")
