"""Ingest, queries and look-ups of a repository against the bare library; a frame through ``Butler.get``.

Both sides do the same work with the same library: the bare side scans headers with astropy and hands the library
records that it makes by hand, in a repository of the library's own storage classes. Ours does what a user calls.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

import getting
from fullwell.io.hot import read_image
from harness import Result, at_most, idle, informative, interleave, not_judged

FILES = 2000
DETECTORS = 4
NIGHTS = 10
PER_NIGHT = FILES // DETECTORS // NIGHTS
INSTRUMENT = "bench"
LIMIT = 1.3
CARDS = 60
"""Cards of a header beside those that say what it is; real ones have 100 and more."""
FIRST_DAY = datetime(2025, 1, 15)


def day_of(night: int) -> int:
    """day_obs of a night."""
    return int((FIRST_DAY + timedelta(days=night)).strftime("%Y%m%d"))


def write_files(folder: Path) -> list[Path]:
    """Small raw files of `DETECTORS` detectors: the header of one, 16 x 16 pixels."""
    from astropy.io import fits

    out = []
    pixels = np.zeros((16, 16), np.uint16)
    for number in range(FILES // DETECTORS):
        night, seq = divmod(number, PER_NIGHT)
        for detector in range(DETECTORS):
            hdu = fits.PrimaryHDU(pixels)
            begin = FIRST_DAY + timedelta(days=night, seconds=60.0 * seq)
            cards = {
                "INSTRUME": INSTRUMENT, "DETECTOR": detector, "DETNAME": f"S{detector:02d}", "DAYOBS": day_of(night),
                "SEQNUM": seq, "OBSID": f"{day_of(night)}_{seq:05d}", "IMAGETYP": "object", "EXPTIME": 30.0,
                "DARKTIME": 30.5, "FILTER": "gr"[seq % 2], "OBJECT": "field", "TIMESYS": "TAI",
                "DATE-OBS": begin.isoformat(timespec="milliseconds"),
            }  # fmt: skip
            hdu.header.update(cards)
            hdu.header.update({f"KEY{i}": (i * 1.5, "a value of the telescope") for i in range(CARDS)})
            out.append(folder / f"{day_of(night)}_{seq:05d}_{detector}.fits")
            hdu.writeto(out[-1])
    return out


def header_scan(paths: list[Path]) -> list[dict[str, Any]]:
    """What the bare side reads of each header, by astropy."""
    from astropy.io import fits

    keys = ("DETECTOR", "DETNAME", "DAYOBS", "SEQNUM", "OBSID", "IMAGETYP", "EXPTIME", "DARKTIME", "FILTER", "OBJECT")
    out = []
    for path in paths:
        header = fits.getheader(path)
        out.append({key: header[key] for key in keys} | {"BEGIN": header["DATE-OBS"], "path": str(path)})
    return out


def bare_records(scan: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Dimension records as a script would make them: one time object for all exposures."""
    from astropy.time import Time, TimeDelta
    from lsst.daf.butler import Timespan

    name, first = {"instrument": INSTRUMENT}, {}
    for one in scan:
        first.setdefault(one["DAYOBS"] * 100_000 + one["SEQNUM"], one)
    begins = Time([one["BEGIN"] for one in first.values()], scale="tai")
    ends = begins + TimeDelta([one["EXPTIME"] for one in first.values()], format="sec", scale="tai")
    exposures, visits = [], []
    for i, (number, one) in enumerate(first.items()):
        both = {
            **name, "id": number, "day_obs": one["DAYOBS"], "physical_filter": one["FILTER"], "seq_num": one["SEQNUM"],
            "exposure_time": one["EXPTIME"], "target_name": one["OBJECT"], "timespan": Timespan(begins[i], ends[i]),
        }  # fmt: skip
        exposures.append(
            {
                **both,
                "group": str(number),
                "obs_id": one["OBSID"],
                "dark_time": one["DARKTIME"],
                "observation_type": "science",
                "seq_start": one["SEQNUM"],
                "seq_end": one["SEQNUM"],
                "has_simulated": False,
                "can_see_sky": True,
            }
        )
        visits.append({**both, "name": one["OBSID"]})
    known = {
        "name": INSTRUMENT, "class_name": "bench.Instrument", "detector_max": 10, "exposure_max": 2**62,
        "visit_max": 2**62, "visit_system": 0,
    }  # fmt: skip
    return {
        "instrument": [known],
        "physical_filter": [{**name, "name": f, "band": f} for f in sorted({one["FILTER"] for one in scan})],
        "day_obs": [{**name, "id": day} for day in sorted({one["DAYOBS"] for one in scan})],
        "group": [{**name, "name": str(number)} for number in first],
        "detector": [
            {**name, "id": d, "full_name": n} for d, n in sorted({(one["DETECTOR"], one["DETNAME"]) for one in scan})
        ],
        "visit_system": [{**name, "id": 0, "name": "one-to-one"}],
        "exposure": exposures,
        "visit": visits,
        "visit_definition": [{**name, "exposure": n, "visit": n} for n in first],
        "visit_system_membership": [{**name, "visit_system": 0, "visit": n} for n in first],
    }


def bare_ingest(place: Path, paths: list[Path]) -> None:
    """Headers, records, files: by the library alone."""
    from lsst.daf.butler import Butler, DataCoordinate, DatasetIdGenEnum, DatasetRef, FileDataset

    butler = Butler.from_config(str(place), writeable=True)
    scan = header_scan(paths)
    kind, run = butler.get_dataset_type("raw"), f"{INSTRUMENT}/raw/all"
    with butler.transaction():
        for dimension, rows in bare_records(scan).items():
            butler.registry.insertDimensionData(dimension, *rows, skip_existing=True)
        butler.collections.register(run)
        files = []
        for one in scan:
            where = {"instrument": INSTRUMENT, "detector": one["DETECTOR"],
                     "exposure": one["DAYOBS"] * 100_000 + one["SEQNUM"]}  # fmt: skip
            data_id = DataCoordinate.standardize(where, universe=butler.dimensions, dimensions=kind.dimensions)
            ref = DatasetRef(kind, data_id, run=run, id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN)
            files.append(FileDataset(one["path"], [ref]))
        butler.ingest(*files, transfer="direct", record_validation_info=False)
    butler.close()


def our_ingest(place: Path, paths: list[Path]) -> None:
    """The same by `ingest`."""
    from fullwell.repo.ingest import ingest
    from fullwell.repo.repository import open_repo

    with open_repo(place, writeable=True) as repo:
        assert len(ingest(repo, [paths[0].parent]).entered) == FILES


def plain_repo(place: Path) -> Path:
    """An empty repository of the library's own, with a dataset type "raw"."""
    from lsst.daf.butler import Butler, DatasetType

    Butler.makeRepo(str(place))
    butler = Butler.from_config(str(place), writeable=True)
    dimensions = ("instrument", "detector", "exposure")
    butler.registry.registerDatasetType(
        DatasetType("raw", dimensions, "StructuredDataDict", universe=butler.dimensions)
    )
    butler.close()
    return place


def entering(folder: Path, paths: list[Path]) -> list[Result]:
    """Ingest into fresh repositories, headers included."""
    from fullwell import io
    from fullwell.repo.repository import create

    create(folder / "ours").close()
    empty = {"ours": folder / "ours", "bare": plain_repo(folder / "bare")}
    numbers = count()

    def into(side: str, work: Callable[[Path, list[Path]], None]) -> None:
        work(made[side].pop(), paths)

    made = {side: [shutil.copytree(empty[side], folder / f"{side}{next(numbers)}") for _ in range(6)] for side in empty}
    times = interleave(
        {"bare": lambda: into("bare", bare_ingest), "ours": lambda: into("ours", our_ingest)}, rounds=5, warm=1
    )
    scan = interleave({"bare": lambda: header_scan(paths), "ours": lambda: [io.read_headers(p) for p in paths]}, 3, 1)
    rate = f"{FILES / times['ours'].cpu:.0f} files per second of CPU, {FILES / times['bare'].cpu:.0f} by the library"
    what = "the library and an astropy scan of headers"
    return [
        at_most(f"ingest of {FILES} files", times["ours"].cpu / times["bare"].cpu, what, LIMIT, rate),
        informative(f"headers of {FILES} files", scan["ours"].cpu / scan["bare"].cpu, "astropy"),
    ]


def calibrate(place: Path, spare: Path) -> None:
    """Flats of two filters and biases, of each night and detector, certified for the night; one small file for all."""
    from fullwell.repo.calibs import Entry, certify, enter_files, new_run
    from fullwell.repo.layout import file_path
    from fullwell.repo.repository import open_repo

    with open_repo(place, writeable=True) as repo:
        for night in range(NIGHTS):
            run = new_run(repo, INSTRUMENT, f"night{night}")
            entries = []
            for detector in range(DETECTORS):
                for name, filters in (("flat", "gr"), ("bias", " ")):
                    for optics in filters:
                        data_id: dict[str, Any] = {"instrument": INSTRUMENT, "detector": detector}
                        if name == "flat":
                            data_id["physical_filter"] = optics
                        path = repo.root / file_path(name, run, data_id)
                        path.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy(spare, path)
                        entries.append(Entry(name, data_id, run, path, uuid4()))
            begin = FIRST_DAY + timedelta(days=night)
            refs = enter_files(repo, entries)
            certify(repo, refs, begin.isoformat(), (begin + timedelta(days=1)).isoformat())


def bare_rows(butler: Any, where: str = "") -> list[Any]:
    """Raw frames with exposure records and files, by the library alone."""
    with butler.query() as query:
        chosen = query.where(instrument=INSTRUMENT)
        if where:
            chosen = chosen.where(where)
        refs = list(chosen.datasets("raw", [f"{INSTRUMENT}/raw/all"], find_first=False))
        records = {r.id: r for r in chosen.dimension_records("exposure")}
    paths = butler.get_many_uris(refs)
    rows = [(ref, records[ref.dataId["exposure"]], paths[ref].primaryURI.ospath) for ref in refs]
    return sorted(rows, key=lambda row: (row[1].id, row[0].dataId["detector"]))


def bare_flat(butler: Any, exposure: int, detector: int) -> Any:
    """The flat that is valid for an exposure, by the library alone."""
    full = butler.registry.expandDataId(instrument=INSTRUMENT, exposure=exposure, detector=detector)
    return butler.find_dataset(
        "flat", instrument=INSTRUMENT, detector=detector, physical_filter=full["physical_filter"],
        timespan=full.records["exposure"].timespan, collections=f"{INSTRUMENT}/calib",
    )  # fmt: skip


def bare_join(butler: Any) -> dict[tuple[int, int], Any]:
    """The flat of each raw frame, by one query of the library, with its file."""
    with butler.query() as query:
        joined = query.where(instrument=INSTRUMENT).join_dataset_search("raw", [f"{INSTRUMENT}/raw/all"])
        joined = joined.join_dataset_search("flat", [f"{INSTRUMENT}/calib"])
        rows = joined.general(
            ["exposure", "detector", "physical_filter"], dataset_fields={"flat": {"dataset_id"}}, find_first=False
        )
        found = {(row["exposure"], row["detector"]): row["flat.dataset_id"] for row in rows}
    refs = butler.get_many_datasets(set(found.values()))
    files = {ref.id: uris.primaryURI.ospath for ref, uris in butler.get_many_uris(refs).items()}
    return {key: (ident, files[ident]) for key, ident in found.items()}


def our_join(repo: Any, rows: list[Any]) -> dict[tuple[int, int], Any]:
    """The same from the shelf that a plan takes its calibrations from."""
    from fullwell.repo.bulk import shelf

    kept = shelf(repo, INSTRUMENT, ["flat"])
    out = {}
    for row in rows:
        (out[row.exposure, row.detector],) = kept.valid("flat", row.detector, row.physical_filter, row.timespan)
    return out


def asking(place: Path) -> list[Result]:
    """Queries of all and of one night, and certified look-ups, on one repository."""
    from lsst.daf.butler import Butler

    from fullwell.repo.bulk import raws
    from fullwell.repo.listing import datasets
    from fullwell.repo.repository import open_repo

    night = f"exposure.day_obs = {day_of(3)}"
    butler = Butler.from_config(str(place))
    with open_repo(place) as repo:
        rows, plain = raws(repo, INSTRUMENT), bare_join(butler)
        chosen = [(row.exposure, row.detector) for row in rows[:: FILES // 100]]
        assert [str(row.path) for row in rows] == [row[2] for row in bare_rows(butler)]
        assert {k: v.id for k, v in our_join(repo, rows).items()} == {k: str(v[0]) for k, v in plain.items()}

        def find(exposure: int, detector: int) -> Any:
            return repo.find("flat", instrument=INSTRUMENT, exposure=exposure, detector=detector)

        assert all(find(*one).id == bare_flat(butler, *one).id for one in chosen)
        cases = {
            "query of all": (lambda: raws(repo, INSTRUMENT), lambda: bare_rows(butler)),
            "query of a night": (lambda: raws(repo, INSTRUMENT, night), lambda: bare_rows(butler, night)),
            "list of a night": (lambda: datasets(repo, night, ["raw"]), lambda: bare_rows(butler, night)),
            "certified flat, one by one": (
                lambda: [find(*one) for one in chosen],
                lambda: [bare_flat(butler, *one) for one in chosen],
            ),
            "certified flat of all": (
                lambda: our_join(repo, raws(repo, INSTRUMENT)),
                lambda: (bare_rows(butler), bare_join(butler)),
            ),
        }
        flat = {f"{side} {name}": work for name, pair in cases.items() for side, work in zip("OB", pair, strict=True)}
        times = interleave(flat, rounds=7)
    butler.close()
    out = []
    for name in cases:
        ours, bare = times[f"O {name}"].cpu, times[f"B {name}"].cpu
        out.append(at_most(f"{name}, {FILES} frames", ours / bare, "the library", LIMIT, f"{ours * 1e3:.1f} ms of CPU"))
    return out


def getting_one(folder: Path) -> list[Result]:
    """A corrected frame of 4k x 4k through ``Butler.get`` against the fastest plain reader of its file."""
    from astropy.io import fits
    from lsst.daf.butler import Butler

    from fullwell.repo.dimensions import Records, identity
    from fullwell.repo.repository import create

    frame, run = getting.frame(), "u/bench"
    known = identity(frame.observation)
    with create(folder / "one") as repo:
        records = Records()
        records.add_raw(known)
        records.insert(repo.butler)
        repo.butler.collections.register(run)
        ref = repo.butler.put(frame, "post_isr_image", known.data_id, run=run)
        path = repo.file_of(ref)
    butler = Butler.from_config(str(folder / "one"), collections=[run])
    with fits.open(path) as hdus:
        places = [(hdus[n].fileinfo()["datLoc"], hdus[n].data.dtype.str) for n in getting.PLANES]
    plain = {
        "astropy": lambda: getting.by_astropy(path),
        "fitsio": lambda: getting.by_fitsio(path),
        "numpy": lambda: getting.by_numpy(path, places),
        "hot": lambda: [read_image(path, name) for name in getting.PLANES],
    }
    quiet = idle()
    times = interleave({**plain, "get": lambda: butler.get("post_isr_image", known.data_id)}, 7)
    quiet = quiet and idle()
    butler.close()
    out = []
    for clock in ("cpu", "wall"):
        best = min(plain, key=lambda name: getattr(times[name], clock))
        taken, yardstick = getattr(times["get"], clock), getattr(times[best], clock)
        result = at_most(
            f"Butler.get of a 4k x 4k frame, {clock}", taken / yardstick, f"fastest plain reader ({best})", LIMIT,
            f"{taken * 1e3:.0f} ms",
        )  # fmt: skip
        out.append(result if quiet or clock == "cpu" else not_judged(result, "the machine was busy with other work"))
    return out


def family() -> list[Result]:
    """The figures of this family."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        (folder / "raws").mkdir()
        paths = write_files(folder / "raws")
        results = entering(folder, paths)
        our_ingest(folder / "ours", paths)
        calibrate(folder / "ours", paths[0])
        return [*results, *asking(folder / "ours"), *getting_one(folder)]


def main() -> None:
    """This family alone."""
    from harness import table

    print(table(family()))


if __name__ == "__main__":
    main()
