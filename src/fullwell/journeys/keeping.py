"""The repository in the output folder of a reduction: raw frames, calibrations and results, by their ids.

Nobody has to know of it: it lies in ``OUT/.fullwell/repo``, the files keep their names in OUT, and the raw frames stay
where they are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fullwell.base.errors import FileError, UsageError
from fullwell.pipeline.runs import who
from fullwell.products import Product
from fullwell.repo.layout import FOLDER_REPO, PRODUCT_CLASSES, defaults_collection, gen_run, safe, user_chain

if TYPE_CHECKING:
    from fullwell.journeys.night import Item
    from fullwell.pipeline.jobs import Done
    from fullwell.repo.marks import Mark
    from fullwell.repo.repository import Repository

__all__ = ["ISR", "Keeper", "preload"]

ISR = "post_isr_image"
"""Dataset type of the reduced frames."""


def preload() -> threading.Thread:
    """Import the library of the repository in the background, while headers are read: it takes about a second."""

    def work() -> None:
        with suppress(ImportError):
            import lsst.daf.butler  # noqa: F401

            import fullwell.repo.ondisk  # noqa: F401

    thread = threading.Thread(target=work, name="preload", daemon=True)
    thread.start()
    return thread


@dataclass
class Keeper:
    """Enters what a reduction reads and makes.

    Parameters
    ----------
    out : the output folder.
    """

    out: Path
    raw_ids: dict[Path, str] = field(default_factory=dict)
    data_ids: dict[Path, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    dataset_ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from fullwell.repo.repository import DAMAGED, Repository, create

        self.place = self.out / FOLDER_REPO
        try:
            self.repo: Repository = Repository(self.place, writeable=True)
        except FileError as error:
            if error.code == DAMAGED:
                raise FileError(
                    error.problem,
                    where=str(self.place),
                    remedy=f"move {self.place} away: a new one is made, and the files in {self.out} are entered in it",
                    code=DAMAGED,
                ) from error
            if (self.place / "butler.yaml").exists():
                raise
            try:
                self.repo = create(self.place, files=self.out)
            except UsageError:  # another reduction was quicker
                self.repo = Repository(self.place, writeable=True)
        self.instruments: list[str] = []
        self.failed: set[Path] = set()
        self.refused: set[str] = set()
        self.taken: set[tuple[Any, ...]] = set()
        self.opened = False
        self.there = self._earlier()

    def _earlier(self) -> dict[Any, UUID]:
        """File, and place (type, run, data id) -> id of what earlier runs made here."""
        from fullwell.repo.bulk import made_files

        out: dict[Any, UUID] = {}
        for ref, path in made_files(self.repo, [ISR, *PRODUCT_CLASSES]):
            out[path] = ref.id
            out[_place(ref.datasetType.name, ref.run, dict(ref.dataId.required))] = ref.id
        return out

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.repo.close()

    def enter_raws(self, items: Sequence[Item]) -> None:
        """Enter the raw frames with the kinds that were decided for them; of two of one exposure only the first."""
        from fullwell.repo.dimensions import identity
        from fullwell.repo.ingest import Ingested, enter_raws, raw_ref

        done = Ingested()
        seen = {item.path.resolve(): [identity(item.observation)] for item in items}
        kind = self.repo.butler.get_dataset_type("raw")
        self._let_go(raw_ref(self.repo.butler, kind, ids[0]).id for ids in seen.values())
        enter_raws(self.repo, seen, "direct", done)
        for item in items:
            path = item.path.resolve()
            one = seen[path][0]
            self.data_ids[item.path] = {**one.data_id, "physical_filter": one.physical_filter}
            self.raw_ids[item.path] = str(raw_ref(self.repo.butler, kind, one).id)
            if path in done.failed:
                self.notes.append(f"{item.name} is not in the repository: {done.failed[path].problem}.")
        self.failed = {item.path for item in items if item.path.resolve() in done.failed}
        self.instruments = sorted({ids[0].instrument for ids in seen.values()})

    def _let_go(self, ids: Iterable[UUID]) -> None:
        """Forget raw frames whose file is gone, or another one by now, so that they are entered, by the same ids, from
        where they are now."""
        from fullwell.repo.bulk import known_refs
        from fullwell.repo.calibs import forget
        from fullwell.repo.lookup import files_of
        from fullwell.repo.marks import marks

        found, there = files_of(self.repo, known_refs(self.repo, list(ids))), marks(self.repo)
        replaced = {ref.id for ref, path in found if not path.exists() or _other(there.get(str(ref.id)), path)}
        forget(self.repo, sorted(replaced))

    @property
    def run(self) -> str:
        """RUN of the reduced frames: one for a folder, since a frame that is reduced anew takes the old one's place."""
        return f"{user_chain(who(), 'reduce')}/frames"

    def ready_product(self, product: Product, item: Item) -> Product:
        """The product with what it is in the repository written into it.

        `item` : a raw frame of the set-up.
        """
        from fullwell.repo.provenance import cards

        ident = str(UUID(product.id))
        data_id = self._data_id(product, item)
        run = gen_run(str(data_id["instrument"]), "reduce")
        names = {str(path): i for path, i in self.raw_ids.items()}
        inputs = [
            {"role": "raw", "id": names[n], "dataset_type": "raw", "run": ""} for n in product.inputs if n in names
        ]
        inputs += [
            {"role": k, "id": i, "dataset_type": k, "run": run}
            for i, k in self.dataset_ids.items()
            if i in {str(UUID(n)) for n in product.inputs if _is_id(n)}
        ]
        told = cards(ident, run, product.kind, data_id, inputs, "reduce")
        self.dataset_ids[ident] = product.kind
        return replace(product, metadata={**product.metadata, **told})

    def _data_id(self, product: Product, item: Item) -> dict[str, Any]:
        seen = self.data_ids[item.path]
        out = {"instrument": seen["instrument"], "detector": seen["detector"]}
        if product.kind == "flat":
            out["physical_filter"] = safe(product.observation.filter) if product.observation.filter else "unknown"
        return out

    def enter_products(self, made: Iterable[tuple[Product, Path, Item, str]]) -> None:
        """Enter and certify calibrations: (product, its file, a raw frame of its set-up, label of the set-up).

        They are valid at all times, since all of one night. Of several for the same detector (and filter) each has a
        collection of its own: the first ``<Instrument>/calib``, a further one with its label.
        """
        from fullwell.repo.calibs import Entry, certify_from, enter_files
        from fullwell.repo.layout import DATASETS

        entries, setups = [], []
        for product, path, item, label in made:
            if product.kind not in DATASETS:
                continue
            data_id = self._data_id(product, item)
            key = (product.kind, *data_id.values())
            setup = (label or path.stem) if key in self.taken else ""
            self.taken.add(key)
            run = gen_run(str(data_id["instrument"]), "reduce") + (f"/{safe(setup)}" if setup else "")
            entries.append(Entry(product.kind, data_id, run, path.resolve(), UUID(product.id)))
            setups.append(setup)
        self._replace(entries)
        for ref, setup in zip(enter_files(self.repo, entries), setups, strict=True):
            certify_from(self.repo, ref, setup=setup)

    def enter_frames(self, block: Sequence[Done]) -> None:
        """Enter reduced frames; what an earlier run left under the same names is forgotten."""
        from fullwell.repo.calibs import Entry, enter_files

        every = [out for done in block for out in done.outputs if out.id not in self.refused]
        entries = [Entry(out.dataset_type, out.data_id, self.run, Path(out.path), UUID(out.id)) for out in every]
        if entries and not self.opened:
            self.open_run()
        self._replace(entries)
        enter_files(self.repo, entries)

    def _replace(self, entries: Sequence[Any]) -> None:
        """Forget the datasets whose files or places these entries have taken."""
        from fullwell.repo.calibs import forget

        now = {key: e.id for e in entries for key in (e.path, _place(e.dataset, e.run, e.data_id))}
        forget(self.repo, list({self.there[key] for key, ident in now.items() if self.there.get(key, ident) != ident}))
        self.there.update(now)

    def open_run(self) -> None:
        """Register the run of the reduced frames and put it first in the chains."""
        from fullwell.repo.calibs import prepend

        self.opened = True
        for name in self.instruments:
            prepend(self.repo, user_chain(who(), "reduce"), self.run, name)

    def to_dict(self) -> dict[str, Any]:
        """Where the repository is, and how its contents are named."""
        return {
            "repo": str(self.place),
            "collections": [defaults_collection(n) for n in self.instruments],
            "isr_dataset_type": ISR,
        }


def _place(dataset: str, run: str, data_id: Mapping[str, Any]) -> tuple[Any, ...]:
    return dataset, run, *sorted((k, str(v)) for k, v in data_id.items())


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _other(mark: Mark | None, path: Path) -> bool:
    """Whether another file than the one that was entered has its place."""
    return mark is not None and mark.differs(path)
