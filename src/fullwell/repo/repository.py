"""`Repository`: a thin, typed door to the library's own Butler, and the making of a new repository.

Whatever is done here can be done with ``lsst.daf.butler.Butler(path)`` as well; this door knows the collections of
our layout, so that a newcomer names none, and turns the library's errors into ours.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import FileError, FullwellError, MissingProduct, UsageError
from fullwell.repo.founding import check_place, move, relative_root, writing
from fullwell.repo.layout import (
    DATASETS,
    FOLDER_REPO,
    PRODUCT_CLASSES,
    calib_collection,
    defaults_collection,
    raw_run,
    seed_config,
)

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef

    from fullwell.frames import Frame
    from fullwell.products import Product

__all__ = ["Repository", "config_of", "create", "open_repo"]


def config_of(path: str | os.PathLike[str]) -> Path:
    """The ``butler.yaml`` of a repository, of a folder made one in place, or of the file itself.

    Raises
    ------
    FileError
        there is none.
    """
    place = Path(path)
    for candidate in (place, place / "butler.yaml", place / FOLDER_REPO / "butler.yaml"):
        if candidate.is_file() and candidate.name == "butler.yaml":
            return candidate.resolve()
    raise FileError(
        "this is no repository",
        where=str(place),
        remedy=f"make one with: fullwell repo create {place}, or give the folder of one",
        code="FW180",
    )


DAMAGED = "FW186"
"""Code of the error of a repository whose index is gone or cannot be read."""

_SAID = ("not a database", "malformed", "no such table: butler_attributes")
"""What SQLite says of a file that is no index of a repository, or no more."""


def damaged(problem: str, where: str) -> FileError:
    """The index of a repository that is gone or cannot be read."""
    return FileError(
        f"the index of the repository is damaged: {problem}",
        where=where,
        remedy="put butler.yaml and the database back from a copy; else move both away, make a repository anew "
        "(fullwell repo create) and enter the files, which are as they were",
        code=DAMAGED,
    )


_CONDITION = "write it as: exposure.observation_type = 'science' AND physical_filter = 'r' AND day_obs = 20250115"


@contextlib.contextmanager
def speaking(where: str = "") -> Iterator[None]:
    """Errors of the library and the database as ours, without passwords."""
    from lsst.daf.butler import registry as lib
    from lsst.daf.butler._exceptions import ButlerUserError
    from lsst.utils.db_auth import DbAuthError
    from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError
    from yaml import YAMLError

    try:
        yield
    except FullwellError:
        raise
    except (DatabaseError, sqlite3.DatabaseError, YAMLError) as error:
        text = plain_text(getattr(error, "orig", None) or error)
        if isinstance(error, YAMLError) or any(word in text for word in _SAID):
            raise damaged(text, where) from error
        if not isinstance(error, OperationalError | sqlite3.OperationalError):
            raise UsageError(plain_text(error), where=where, code="FW182") from error
        raise FileError(
            f"the database does not answer or cannot be written: {text}",
            where=where,
            remedy="is it running, its disk not full, the repository writable? then run the command again",
            code="FW181",
        ) from error
    except (SQLAlchemyError, ButlerUserError, lib.RegistryError, DbAuthError) as error:
        remedy = _CONDITION if ", condition " in where else None
        raise UsageError(plain_text(error), where=where, remedy=remedy, code="FW182") from error
    except ImportError as error:
        if "psycopg" not in str(error):
            raise
        raise UsageError(
            "the driver of PostgreSQL is not installed",
            where=where,
            remedy="pip install 'fullwell[postgres]'",
            code="FW182",
        ) from error
    except RuntimeError as error:
        if "btree_gist" not in str(error):
            raise
        raise UsageError(
            "the database has no extension btree_gist, which keeps spans of validity apart",
            where=where,
            remedy="let its administrator run: CREATE EXTENSION btree_gist; (in this database)",
            code="FW614",
        ) from error


@contextlib.contextmanager
def _one_voice() -> Iterator[None]:
    """Keep the library from logging an error that is raised as well."""
    logger = logging.getLogger("lsst.daf.butler")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def plain_text(error: BaseException) -> str:
    """The first line of what an error of the library says, without passwords and without the quotes of a key."""
    from fullwell.repo.secrets import hidden

    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return hidden(text).strip().split("\n")[0].strip()


def create(
    path: str | os.PathLike[str],
    *,
    db: str = "",
    namespace: str = "",
    files: str | os.PathLike[str] = "",
) -> Repository:
    """Make a new repository, empty but for its dataset types.

    Parameters
    ----------
    path : folder that will hold ``butler.yaml``; made where it is not there, refused where it holds a repository.
    db : URL of a PostgreSQL database ("postgresql://user@host/name"), "" for SQLite inside the repository. A
        password in it is refused: passwords belong into ``~/.lsst/db-auth.yaml`` or the environment.
    namespace : schema of the database that takes the tables.
    files : folder that the paths of the datasets start from; "" for the repository itself.

    Raises
    ------
    FileError
        the folder cannot be written, or the database does not answer.
    UsageError
        there is a repository already, or the library cannot keep one under this name.
    """
    from lsst.daf.butler import Butler

    from fullwell import io
    from fullwell.repo.secrets import driver_url, refuse_password

    place = Path(os.path.abspath(path))
    check_place(place)
    refuse_password(db)
    root = "<butlerRoot>" if not files else relative_root(place, Path(files))
    seed = seed_config(db=driver_url(db), namespace=namespace, files=root)
    # Made under a name of its own: of two processes that make it at once, one finds the place taken, and takes
    # away only what is its own. Without dots, which the library takes for the suffix of a file.
    own = f"{place.name.replace('.', '_')}~{os.getpid()}_{threading.get_ident()}"
    plain = (place if place.is_dir() else place.parent) / own
    with speaking(str(path)), writing(place, plain):
        io.make_folder(plain.parent)
        Butler.makeRepo(str(plain), config=_config(seed), forceConfigRoot=False)
        _prepare_index(plain)
        move(plain, place)
        return Repository(path, writeable=True)


def _prepare_index(plain: Path) -> None:
    """Enter the dataset types of our layout in a repository that is not yet where its files are looked for."""
    from lsst.daf.butler import Butler, ButlerConfig

    whole = ButlerConfig(str(plain))
    whole["datastore", "root"] = "<butlerRoot>"
    butler = Butler.from_config(whole, writeable=True)
    _register_types(butler)
    if hasattr(butler, "close"):
        butler.close()


def _register_types(butler: Butler) -> None:
    from lsst.daf.butler import DatasetType

    for one in DATASETS.values():
        butler.registry.registerDatasetType(
            DatasetType(
                one.name, one.dimensions, one.storage, universe=butler.dimensions, isCalibration=one.calibration
            )
        )


def _config(seed: Mapping[str, Any]) -> Any:
    from lsst.daf.butler import Config

    return Config(dict(seed))


def _check_there(whole: Any, where: str) -> None:
    """Refuse a repository whose SQLite file is gone, before the library makes an empty one in its place."""
    from lsst.daf.butler.registry import RegistryConfig

    registry = RegistryConfig(whole)
    registry.replaceRoot(whole.configDir)
    url = registry.connectionString
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    if not os.path.isfile(url.database) or not os.path.getsize(url.database):
        raise damaged(f"its database {url.database} is not there, or empty", where)


class Repository:
    """A repository, opened.

    Parameters
    ----------
    path : the repository, a folder made one in place, or its ``butler.yaml``.
    writeable : whether datasets may be added.
    instrument : whose default collections are searched; None for all instruments of the repository.
    trust : whether code that the repository names may be imported that fullwell does not know.

    Raises
    ------
    FileError
        no repository there, or its database does not answer.
    UsageError
        it names unknown code and is not trusted, or has no such instrument.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        writeable: bool = False,
        instrument: str | None = None,
        trust: bool = False,
    ) -> None:
        from lsst.daf.butler import Butler, ButlerConfig

        from fullwell.repo.trust import check_config, check_database

        self.config = config_of(path)
        self.path = self.config.parent
        self.writeable, self.trust = writeable, trust
        with speaking(str(path)):
            if not trust:
                check_config(self.config)
            whole = ButlerConfig(str(self.config))
            _check_there(whole, str(path))
            if not trust:
                check_database(whole)
            with _one_voice():
                self.butler: Butler = Butler.from_config(whole, writeable=writeable)
        self._chosen = instrument
        self._set_defaults()

    def _set_defaults(self) -> None:
        from lsst.daf.butler.registry import RegistryDefaults

        known = self.instruments()
        if self._chosen and self._chosen not in known:
            raise UsageError(
                f"the repository has no instrument '{self._chosen}'",
                where=str(self.path),
                remedy=f"it has {', '.join(known) or 'none yet'}",
            )
        names = [self._chosen] if self._chosen else known
        have = self.collections()
        chains = [defaults_collection(n) for n in names if defaults_collection(n) in have]
        with speaking(str(self.path)):
            only = {"instrument": names[0]} if len(names) == 1 else {}
            self.butler.registry.defaults = RegistryDefaults(chains, infer=False, **only)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def without_defaults(self) -> Iterator[None]:
        """No instrument is the default meanwhile: where one is, the library finds no records of another."""
        from lsst.daf.butler.registry import RegistryDefaults

        self.butler.registry.defaults = RegistryDefaults()
        try:
            yield
        finally:
            self._set_defaults()

    @property
    def root(self) -> Path:
        """Folder that relative paths of datasets start from."""
        roots = [uri for uri in self.butler._datastore.roots.values() if uri is not None and uri.isLocal]
        if not roots:
            raise FileError(
                "the files of this repository are not on this machine",
                where=str(self.path),
                remedy="work where they are, or import an export of them",
            )
        return Path(os.path.normpath(roots[0].ospath))

    def instruments(self) -> list[str]:
        """Names of the instruments that are entered."""
        with speaking(str(self.path)), self.butler.query() as query:
            every = query.where("instrument != ''")  # without a condition, the default alone is found
            return sorted(record.name for record in every.dimension_records("instrument"))

    def collections(self) -> set[str]:
        """Names of all collections."""
        with speaking(str(self.path)):
            return set(self.butler.collections.query("*"))

    def ensure(self, name: str, kind: str = "run") -> bool:
        """Enter a collection where it is new: a "run", or of calibrations ("calibration"), or a "chained" one.

        Returns
        -------
        bool
            whether it is new.
        """
        from lsst.daf.butler import CollectionType

        with speaking(str(self.path)):
            return bool(self.butler.collections.register(name, CollectionType.from_name(kind)))

    def register_types(self) -> None:
        """Enter the dataset types of our layout; those that are there stay."""
        _register_types(self.butler)

    def prepare(self, instrument: str) -> None:
        """Enter the instrument's collections: raws, calibrations, defaults."""
        self.ensure(raw_run(instrument))
        self.ensure(calib_collection(instrument), "calibration")
        chain = defaults_collection(instrument)
        if self.ensure(chain, "chained"):
            with speaking(str(self.path)):
                self.butler.collections.redefine_chain(chain, [raw_run(instrument), calib_collection(instrument)])
        self._set_defaults()

    def find(self, dataset: str, collections: Sequence[str] | None = None, **data_id: Any) -> DatasetRef:
        """The dataset that a data id names; a calibration by the filter and the time of the exposure.

        Raises
        ------
        MissingProduct
            there is none; names the nearest ones. UsageError: the data id names an exposure, a filter … that is
            not there, or an unknown dataset type.
        """
        from fullwell.repo.lookup import find

        return find(self, dataset, collections, data_id)

    def get(
        self, dataset: str | DatasetRef, collections: Sequence[str] | None = None, *, box: Any = None, **data_id: Any
    ) -> Any:
        """A dataset, or a component of it ("flat.image"); `box` reads a part of a frame only.

        Frames come as `Frame`; so do bias, dark and flat (`product` gives the product), tables as products.

        Raises
        ------
        MissingProduct
            see `find`. FileError: the file is missing or damaged.
        """
        from fullwell.repo.lookup import read

        if not isinstance(dataset, str):
            return read(self, dataset, None, box)
        name, _, component = dataset.partition(".")
        return read(self, self.find(name, collections, **data_id), component or None, box)

    def product(self, dataset: str | DatasetRef, collections: Sequence[str] | None = None, **data_id: Any) -> Product:
        """A calibration as the product that `fullwell.isr` takes.

        Raises
        ------
        MissingProduct, UsageError
            see `find`.
        """
        ref = self.find(dataset, collections, **data_id) if isinstance(dataset, str) else dataset
        if ref.datasetType.name not in PRODUCT_CLASSES:
            raise UsageError(
                f"a {ref.datasetType.name} is no calibration product", remedy=f"known: {', '.join(PRODUCT_CLASSES)}"
            )
        from fullwell import io

        return io.read_product(self.file_of(ref), ref.datasetType.name)

    def raw(self, exposure: int, detector: int, instrument: str | None = None) -> Frame:
        """The raw frame of one detector of an exposure."""
        more = {"instrument": instrument} if instrument else {}
        frame: Frame = self.get("raw", exposure=exposure, detector=detector, **more)
        return frame

    def file_of(self, ref: DatasetRef) -> Path:
        """Path of the file that holds a dataset.

        Raises
        ------
        FileError
            the repository knows the dataset but not its file, or the file is not on this machine.
        """
        with speaking(str(self.path)):
            uri = self.butler.getURI(ref)
        if not uri.isLocal:
            raise FileError(
                "the file is not on this machine", where=str(uri), remedy="export the dataset there, import it here"
            )
        return Path(uri.ospath)

    def close(self) -> None:
        """Let go of the database."""
        if hasattr(self.butler, "close"):
            self.butler.close()

    def __enter__(self) -> Repository:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Repository({str(self.path)!r}, instruments={self.instruments()})"


def open_repo(
    path: str | os.PathLike[str], *, writeable: bool = False, instrument: str | None = None, trust: bool = False
) -> Repository:
    """Open a repository; parameters and errors are those of `Repository`."""
    return Repository(path, writeable=writeable, instrument=instrument, trust=trust)


def missing(problem: str, where: str, remedy: str) -> MissingProduct:
    """A dataset that is not there."""
    return MissingProduct(problem, where=where, remedy=remedy, code="FW303")
