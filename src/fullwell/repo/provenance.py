"""Where a dataset comes from: the cards in its file, and the tree of what it was made of.

There is no table of origins: each file says it itself, in the words of the LSST library. ``LSST BUTLER ID``, ``RUN``,
``DATASETTYPE``, ``DATAID <DIMENSION>`` are its own; ``LSST BUTLER INPUT n ID`` and so on are those of what was
read; ``LSST CALIB UUID <KIND>`` names the calibrations; FWRECIPE, FWCONFIG, FWVERS say how it was made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fullwell.base.errors import FileError, MissingProduct, UsageError
from fullwell.repo.layout import DATASETS, PRODUCT_CLASSES

if TYPE_CHECKING:
    from fullwell.repo.repository import Repository

__all__ = [
    "Node",
    "Origin",
    "Source",
    "cards",
    "dataset_id",
    "history",
    "marked",
    "plain_id",
    "read_cards",
    "read_origin",
]

ABSENT = "not in this repository"
_MADE = {"recipe": "FWRECIPE", "config": "FWCONFIG", "version": "FWVERS"}
_INPUT = re.compile(r"LSST BUTLER INPUT (\d+) (ID|RUN|DATASETTYPE|ROLE)")
_CALIB = re.compile(r"LSST CALIB (UUID|RUN|DATE) (.+)")
_DATA_ID = "LSST BUTLER DATAID "
_FEW = 3


def cards(
    dataset_id: Any,
    run: str,
    dataset_type: str,
    data_id: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]] = (),
    recipe: str = "",
    config_digest: str = "",
    version: str = "",
) -> dict[str, Any]:
    """What the header of a new dataset says about its making; the same as ``DatasetProvenance.to_flat_dict`` gives.

    Parameters
    ----------
    dataset_id, run, dataset_type, data_id : of the dataset; of our types only the dimensions that they have count.
    inputs : each with `id`, `dataset_type`, `run`, and where it is known `date`; `role` is written where it is not the
        type.
    recipe, config_digest, version : how it was made; "" is left out.
    """
    known = DATASETS[dataset_type].dimensions if dataset_type in DATASETS else tuple(data_id)
    out: dict[str, Any] = {
        "LSST BUTLER ID": str(dataset_id),
        "LSST BUTLER RUN": run,
        "LSST BUTLER DATASETTYPE": dataset_type,
        **{f"{_DATA_ID}{k.upper()}": v for k, v in sorted(data_id.items()) if k in known},
        "LSST BUTLER N_INPUTS": len(inputs),
    }
    for number, one in enumerate(inputs):
        kind, role = str(one.get("dataset_type") or ""), str(one.get("role") or "")
        values = {
            "ID": str(one["id"]),
            "RUN": one.get("run"),
            "DATASETTYPE": kind,
            "ROLE": "" if role == kind else role,
        }
        out.update({f"LSST BUTLER INPUT {number} {word}": v for word, v in values.items() if v})
    for kind, one in _calibrations(inputs):
        values = {"UUID": str(one["id"]), "RUN": one.get("run"), "DATE": one.get("date")}
        out.update({f"LSST CALIB {word} {kind}": str(v) for word, v in values.items() if v})
    made = {"recipe": recipe, "config": config_digest, "version": version}
    out.update({_MADE[name]: value for name, value in made.items() if value})
    return out


def _calibrations(inputs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Kind in upper case and input; of several of one type each by its role."""
    types = [one.get("dataset_type") for one in inputs]
    for kind, one in zip(types, inputs, strict=True):
        if kind in PRODUCT_CLASSES:
            yield str(kind if types.count(kind) == 1 else one.get("role") or kind).upper(), one


def marked(metadata: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`metadata` with the cards `new` instead of those of an earlier making."""
    return {**{k: v for k, v in metadata.items() if not _about_making(k)}, **new}


def _about_making(key: str) -> bool:
    return key.startswith(("LSST BUTLER ", "LSST CALIB ")) or key in _MADE.values()


@dataclass(frozen=True)
class Source:
    """One input, as a file names it.

    Parameters
    ----------
    id : of the dataset. role : what it was to the task. dataset_type, run, date : "" where the file does not say.
    """

    id: str
    role: str = ""
    dataset_type: str = ""
    run: str = ""
    date: str = ""


@dataclass(frozen=True)
class Origin:
    """What a file says about its making.

    Parameters
    ----------
    id, run, dataset_type, data_id : of the dataset, "" and empty where the file does not say.
    inputs : what it was made of.
    recipe, config, version : how; config is the digest of the settings.
    made : when [ISO], of calibrations.
    """

    id: str = ""
    run: str = ""
    dataset_type: str = ""
    data_id: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Source, ...] = ()
    recipe: str = ""
    config: str = ""
    version: str = ""
    made: str = ""

    @classmethod
    def of(cls, keys: Mapping[str, Any]) -> Origin:
        """From header keywords, ours or those of the LSST library."""

        def text(key: str) -> str:
            value = keys.get(key)
            return "" if value is None else str(value).strip()

        return cls(
            text("LSST BUTLER ID"),
            text("LSST BUTLER RUN"),
            text("LSST BUTLER DATASETTYPE"),
            {k[len(_DATA_ID) :].lower(): v for k, v in keys.items() if k.startswith(_DATA_ID)},
            _sources(keys),
            **{name: text(key) for name, key in _MADE.items()},
            made=" ".join(t for t in (text("CALIB_CREATION_DATE"), text("CALIB_CREATION_TIME")) if t),
        )


def _sources(keys: Mapping[str, Any]) -> tuple[Source, ...]:
    """Inputs by number; then calibrations that are named alone, whose kind no numbered input has."""
    numbered: dict[int, dict[str, str]] = {}
    named: dict[str, dict[str, str]] = {}
    for key, value in keys.items():
        if match := _INPUT.fullmatch(key):
            numbered.setdefault(int(match[1]), {})[match[2]] = str(value).strip()
        elif match := _CALIB.fullmatch(key):
            named.setdefault(match[2].lower(), {})[match[1]] = str(value).strip()
    out, ids = [], set()
    for _, one in sorted(numbered.items()):
        if one.get("ID"):
            kind = one.get("DATASETTYPE", "")
            out.append(Source(one["ID"], one.get("ROLE") or kind, kind, one.get("RUN", "")))
            ids.add(one["ID"])
    covered = {one.role for one in out} | {one.dataset_type for one in out}
    for kind, one in named.items():
        if one.get("UUID") and one["UUID"] not in ids and kind not in covered:
            out.append(Source(one["UUID"], kind, kind, one.get("RUN", ""), one.get("DATE", "")))
    return tuple(out)


def read_cards(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The cards about its making that a file carries: FITS (first header), ECSV (meta), JSON; empty where none.

    Raises
    ------
    FileError
        the file is not there or cannot be read.
    """
    keys = _keys(path)
    return {k: v for k, v in keys.items() if _about_making(k)}


def read_origin(path: str | os.PathLike[str]) -> Origin:
    """What a file says about its making.

    Raises
    ------
    FileError
        the file is not there or cannot be read.
    """
    return Origin.of(_keys(path))


def _keys(path: str | os.PathLike[str]) -> dict[str, Any]:
    from fullwell.io.identity import embedded_keys

    try:
        return embedded_keys(path)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(
            f"cannot read: {reason}", where=str(path), remedy="see what else is missing with: fullwell repo check"
        ) from error


@dataclass(frozen=True)
class Node:
    """A dataset in the tree of its making.

    Parameters
    ----------
    id : of the dataset. role : what it was to the one above. dataset_type, data_id, run, path : as the repository has
        them; of one that is not there, what the file of the one above says.
    recipe, config, version, made : how and when.
    problem : why nothing more is known ("not in this repository", "its file is gone").
    repeated : whether its inputs are shown at another place of the tree.
    children : its inputs.
    """

    id: str
    role: str = ""
    dataset_type: str = ""
    data_id: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    path: str = ""
    recipe: str = ""
    config: str = ""
    version: str = ""
    made: str = ""
    problem: str = ""
    repeated: bool = False
    children: tuple[Node, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; the inputs under "inputs"."""
        plain = {k: v for k, v in vars(self).items() if k not in ("children", "data_id")}
        return {**plain, "data_id": dict(self.data_id), "inputs": [one.to_dict() for one in self.children]}

    def __iter__(self) -> Iterator[Node]:
        """This node and all below."""
        yield self
        for child in self.children:
            yield from child

    def draw(self) -> str:
        """The tree as text; many inputs of one role that were not made of others stand in one line."""
        return "\n".join(_drawn(self, "", ""))

    @property
    def how(self) -> str:
        """Sentence about the making; "" where nothing is known."""
        config = f"settings {self.config[:8]}" if self.config else ""
        version = f"fullwell {self.version}" if self.version else ""
        inner = ", ".join(part for part in (version, config) if part)
        parts = [f"made by {self.recipe}" if self.recipe else "", f"({inner})" if inner else "", self.made]
        return " ".join(part for part in parts if part)


def _drawn(node: Node, head: str, rest: str) -> Iterator[str]:
    below = _groups(node.children)
    bar = rest + ("│   " if below else "    ")
    yield head + _title(node)
    if node.run and not node.repeated:
        yield f"{bar}{node.run}: {node.how}" if node.how else f"{bar}{node.run}"
    elif node.how and not node.repeated:
        yield bar + node.how
    for number, group in enumerate(below):
        last = number == len(below) - 1
        branch, deeper = ("└── ", "    ") if last else ("├── ", "│   ")
        if len(group) == 1:
            yield from _drawn(group[0], rest + branch, rest + deeper)
        else:
            yield rest + branch + _summary(group)


def _name(node: Node) -> str:
    kind = node.dataset_type or node.role or "dataset"
    return kind if node.role in ("", kind) else f"{kind} as {node.role}"


def _title(node: Node) -> str:
    where = ", ".join(f"{k} {v}" for k, v in node.data_id.items())
    note = node.problem or ("shown above" if node.repeated else "")
    return "  ".join(part for part in (_name(node), where, node.id, f"({note})" if note else "") if part)


def _groups(nodes: Iterable[Node]) -> list[list[Node]]:
    """Nodes to be drawn in one line each: leaves of one role and type, where there are more than a few."""
    found: dict[tuple[str, ...], list[Node]] = {}
    for node in nodes:
        plain = not node.children and not node.repeated
        key = (node.role, node.dataset_type, node.run, node.problem) if plain else (node.id, node.role)
        found.setdefault(key, []).append(node)
    out: list[list[Node]] = []
    for group in found.values():
        out += [group] if len(group) > _FEW else [[one] for one in group]
    return out


def _summary(group: Sequence[Node]) -> str:
    """``raw × 50: exposure 2025011500001 … 2025011500050``, with what they have in common."""
    parts = []
    for key in group[0].data_id:
        values = sorted({one.data_id.get(key) for one in group}, key=lambda v: (str(type(v)), v))
        parts.append(f"{key} {values[0]}" if len(values) == 1 else f"{key} {_ranges(values)}")
    note = f"  ({group[0].problem})" if group[0].problem else ""
    return f"{_name(group[0])} × {len(group)}: {', '.join(parts)}".rstrip(": ") + note


def _ranges(values: Sequence[Any]) -> str:
    """Consecutive numbers as ``first … last``, a few such spans, then how many there are in all."""
    spans: list[list[Any]] = []
    for value in values:
        if spans and isinstance(value, int) and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    shown = [str(a) if a == b else f"{a} … {b}" for a, b in spans]
    return ", ".join(shown[:4]) + (f" and others, {len(values)} in all" if len(shown) > 4 else "")


def history(repo: Repository, dataset: Any) -> Node:
    """The tree of what a dataset was made of, down to the raw frames.

    Parameters
    ----------
    dataset : id, reference, or the path of a file that carries its id.

    Raises
    ------
    UsageError
        no id, and no file that carries one. MissingProduct: the repository does not know the id.
    """
    start = dataset_id(dataset)
    known = _known(repo, start)
    if known[start].problem == ABSENT:
        raise MissingProduct(
            f"the dataset {start} is {ABSENT}",
            where=str(repo.path),
            remedy="fullwell repo ls datasets lists the ids; is it another repository?",
            code="FW303",
        )
    return _tree(Source(start), known, set(), ())


def dataset_id(dataset: Any) -> str:
    """The id that is meant: one as text, that of a reference, or the one that a file carries.

    Raises
    ------
    UsageError
        it is neither.
    """
    text = str(getattr(dataset, "id", dataset))
    try:
        return str(UUID(text))
    except ValueError:
        path = Path(text)
    if path.is_file():
        found = read_origin(path).id
        if found:
            return str(UUID(found))
    raise UsageError(
        "this is no id of a dataset" if not path.is_file() else "the file carries no id of a dataset",
        where=text,
        remedy="ids look like 52101f38-3247-589b-9fa5-b97fa8815ec8; fullwell repo ls datasets lists them",
    )


@dataclass(frozen=True)
class _Known:
    """A dataset without its place in the tree."""

    node: Node
    inputs: tuple[Source, ...] = ()

    @property
    def problem(self) -> str:
        return self.node.problem


def _known(repo: Repository, start: str) -> dict[str, _Known]:
    """All datasets that the tree needs, a level at a time."""
    found: dict[str, _Known] = {}
    level = [start]
    while level:
        found.update(_look(repo, level))
        below = (source.id for ident in level for source in found[ident].inputs)
        level = [ident for ident in dict.fromkeys(map(plain_id, below)) if ident not in found]
    return found


def plain_id(text: str) -> str:
    """An id as the library writes it; a text that is none stays."""
    try:
        return str(UUID(text))
    except ValueError:
        return text


def _look(repo: Repository, idents: Sequence[str]) -> dict[str, _Known]:
    from concurrent.futures import ThreadPoolExecutor

    from fullwell.repo.lookup import files_of
    from fullwell.repo.repository import speaking

    refs: dict[str, Any] = {}
    ids = [UUID(one) for one in idents if _is_id(one)]
    with speaking(str(repo.path)):
        for at in range(0, len(ids), 500):
            refs.update({str(ref.id): ref for ref in repo.butler.get_many_datasets(ids[at : at + 500])})
        paths = {str(ref.id): path for ref, path in files_of(repo, refs.values())}
    with ThreadPoolExecutor(4) as pool:
        every = pool.map(lambda ident: _one(ident, refs.get(ident), paths.get(ident)), idents)
        return dict(zip(idents, every, strict=True))


def _is_id(text: str) -> bool:
    return plain_id(text) == text and len(text) == 36 and text.count("-") == 4


def _one(ident: str, ref: Any, path: Path | None) -> _Known:
    if ref is None:
        return _Known(Node(ident, problem=ABSENT))
    node = Node(
        ident,
        dataset_type=ref.datasetType.name,
        data_id=dict(ref.dataId.required),
        run=ref.run,
        path=str(path or ""),
    )
    if path is None:
        return _Known(replace(node, problem="no file is recorded"))
    if node.dataset_type == "raw":
        return _Known(node if path.exists() else replace(node, problem="its file is gone"))
    try:
        origin = read_origin(path)
    except FileError as error:
        return _Known(replace(node, problem="its file is gone" if not path.exists() else error.problem))
    how = {name: getattr(origin, name) for name in (*_MADE, "made")}
    return _Known(replace(node, **how), origin.inputs)


def _tree(source: Source, known: Mapping[str, _Known], shown: set[str], above: tuple[str, ...]) -> Node:
    """The node of an input; what was shown before, or lies above it, is only named."""
    ident = plain_id(source.id)
    one = known[ident]
    node = replace(one.node, role=source.role)
    if node.problem == ABSENT:
        return replace(node, dataset_type=source.dataset_type, run=source.run, made=source.date)
    if ident in above:
        return replace(node, problem="made of itself: the ids in the files contradict each other")
    if not one.inputs:
        return node
    if ident in shown:
        return replace(node, repeated=True)
    shown.add(ident)
    return replace(node, children=tuple(_tree(s, known, shown, (*above, ident)) for s in one.inputs))
