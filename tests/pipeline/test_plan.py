"""Plans: what is new, stale and why, there, missing; calibrations as the library itself finds them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from carry import CAMERA, carry, filled, of_task, plan, states
from nines import Nines

import fullwell
from fullwell.base.errors import FileError, UsageError
from fullwell.pipeline.plan import Plan, expected_id
from fullwell.pipeline.recipes import RECIPES, Recipe
from fullwell.pipeline.rerun import compare
from fullwell.repo.bulk import known_refs
from fullwell.repo.calibs import certified, certify, decertify
from fullwell.repo.repository import Repository

MEDIAN = {"settings": {"overscan_serial": {"method": "median"}}}
FIRST = {"gain": 2, "bias": 2, "dark": 2, "flat": 4, "defects": 2, "isr": 6}
"""Jobs of each task for the night of the fixtures: two detectors, two filters, three science exposures."""


def tell(made: Plan, task: str) -> set[str]:
    return {one.reason for one in of_task(made, task)}


def test_a_fresh_repository(fresh: Repository) -> None:
    made = plan(fresh)
    assert made.counts() == {(task, "new"): number for task, number in FIRST.items()}
    assert tell(made, "isr") == {"not made yet"} and not made.notes
    flat = next(j for j in of_task(made, "flat") if j.job.outputs[0].data_id["physical_filter"] == "r")
    roles = [i.role for i in flat.job.inputs]
    assert roles == ["flat_frames"] * 4 + ["gain", "bias", "dark"]
    detector = flat.job.outputs[0].data_id["detector"]
    names = {j.job.id: (j.job.task, j.job.outputs[0].data_id["detector"]) for j in made.jobs}
    assert [names[a] for a in flat.after] == [(t, detector) for t in ("gain", "bias", "dark")]
    assert flat.begin == "2025-01-14T12:00:00", "the noon before the first of its frames"
    (isr,) = [j for j in of_task(made, "isr") if j.job.batch == "3/r"]
    assert [names[a][0] for a in isr.after] == ["bias", "gain", "dark", "flat", "defects"]
    (defects,) = [j for j in of_task(made, "defects") if j.job.batch.startswith("3/")]
    assert [i.role for i in defects.job.inputs] == ["bias", "dark", "flat g", "flat r"]
    assert defects.begin == flat.begin, "a product of products is valid from when the last of them is"
    assert all(Path(j.job.outputs[0].path).is_relative_to(fresh.root) for j in made.jobs)
    assert len({j.job.id for j in made.jobs}) == len(made.jobs)


def test_ids_are_the_same_at_every_site(fresh: Repository, tmp_path: Path, night: Nines) -> None:
    with filled(tmp_path / "elsewhere", night) as other:
        mine, theirs = plan(fresh), plan(other, user="bob")
        assert [j.job.id for j in mine.jobs] == [j.job.id for j in theirs.jobs]
        assert mine.jobs[0].job.outputs[0].path != theirs.jobs[0].job.outputs[0].path


def test_the_memory_that_a_task_may_use_does_not_change_what_it_makes(fresh: Repository) -> None:
    ids = [j.job.id for j in plan(fresh).jobs]
    assert [j.job.id for j in plan(fresh, config={"memory": 7}).jobs] == ids
    assert [j.job.id for j in plan(fresh, config=MEDIAN).jobs] != ids


def test_what_was_made_is_there(done: Repository) -> None:
    assert set(states(plan(done)).values()) == {"exists"}
    assert set(states(plan(done, user="bob")).values()) == {"exists"}, "whoever made it"
    made = plan(done, "isr")
    assert states(made) == {"isr": "exists"} and not made.to_run
    assert all(Path(j.job.outputs[0].path).exists() for j in made.jobs)


def test_stale_because_of_settings(done: Repository) -> None:
    made = plan(done, config=MEDIAN)
    assert set(states(made).values()) == {"stale"}
    assert tell(made, "gain") == {"the settings changed"}
    assert tell(made, "bias") == {"its inputs changed (gain); the settings changed"}
    assert tell(made, "isr") == {"its inputs changed (bias, dark, defects, flat, gain); the settings changed"}


def test_stale_because_of_inputs(done: Repository, tmp_path: Path) -> None:
    from fullwell.repo.ingest import ingest

    late = Nines(tmp_path / "late", detectors=(3,), start="2025-01-15T05:00:00", count=100)
    late.add("bias", 1)
    assert ingest(done, [late.folder]).ok
    made = plan(done)
    gain, other = of_task(made, "gain")
    assert (gain.state, gain.reason) == ("stale", "its inputs changed (raw)") and other.state == "exists"
    isr = {j.job.outputs[0].data_id["detector"]: j.state for j in of_task(made, "isr")}
    assert isr == {3: "stale", 4: "exists"}


def test_stale_because_an_input_is_no_longer_used(done: Repository) -> None:
    recipe = RECIPES["all"]
    isr = replace(recipe.tasks[-1], takes=("gain", "dark", "flat"))
    made = plan(done, Recipe("all", (*recipe.tasks[:-1], isr)))
    assert tell(made, "isr") == {"its inputs changed (one less: defects)"}


def test_stale_because_of_the_version(done: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    old = fullwell.__version__
    monkeypatch.setattr(fullwell, "__version__", "99.0")
    made = plan(done, "isr")
    assert states(made) == {"isr": "stale"} and tell(made, "isr") == {f"made by version {old}"}


def test_settings_changed_back_make_the_old_calibrations_valid_again(done: Repository) -> None:
    first = {v.id for v in certified(done, "bias")}
    assert carry(done, plan(done, config=MEDIAN)).ok
    second = {v.id for v in certified(done, "bias")}
    assert second.isdisjoint(first)
    made = plan(done, "calibs")
    assert {s for task, s in states(made).items() if task != "isr"} == {"stale"}
    assert tell(made, "gain") == {"made before, but another is valid instead: the settings changed"}
    again = carry(done, made)
    assert again.ok and again.count("kept") == len(made.jobs), "nothing is computed anew"
    assert {v.id for v in certified(done, "bias")} == first
    assert set(states(plan(done)).values()) == {"exists"}


def test_what_was_ended_by_hand_stays_ended(done: Repository) -> None:
    decertify(done, "flat", CAMERA)
    made = plan(done, "calibs")
    assert set(states(made).values()) == {"exists"}
    assert carry(done, plan(done)).total == 0 and not certified(done, "flat")


def test_a_file_that_is_gone_is_made_again_in_its_place(done: Repository, tmp_path: Path) -> None:
    first = of_task(plan(done), "isr")[0]
    path = Path(first.job.outputs[0].path)
    before = path.rename(tmp_path / path.name)
    made = plan(done)
    (lost,) = made.to_run
    assert lost.job.id == first.job.id and lost.reason == f"its file is gone: {path}"
    summary = carry(done, made)
    assert summary.ok and summary.count("done") == 1
    (ref,) = known_refs(done, [UUID(lost.job.id)])
    assert done.file_of(ref) == path
    parts, cards = compare(before, path)
    assert all(p.same for p in parts) and not cards
    assert set(states(plan(done)).values()) == {"exists"}


def test_missing_because_nothing_is_certified(fresh: Repository) -> None:
    made = plan(fresh, "isr")
    assert states(made) == {"isr": "missing"} and made.missing == made.jobs and not made.to_run
    assert tell(made, "isr") == {
        f"no bias: no bias of {CAMERA} is certified: build and certify it (fullwell run calibs)"
    }


def test_missing_names_the_nearest(done: Repository) -> None:
    decertify(done, "bias", CAMERA, None, "2025-03-01")
    made = plan(done, "isr")
    run = made.jobs[0].job.context["inputs"].values()
    stamp = next(iter({v["run"] for v in run}))
    assert tell(made, "isr") == {
        f"no bias: the nearest bias of detector {d} is valid 2025-03-01T00:00:00 to … (run {stamp}); "
        "to take it all the same: --accept bias"
        for d in (3, 4)
    }
    decertify(done, "bias", CAMERA, data_ids=[{"detector": 3}])
    made = plan(done, "isr", where="detector = 3")
    assert tell(made, "isr") == {"no bias: there is a bias of detector 4"}


def test_what_may_be_there_is_left_out_where_it_is_not(done: Repository) -> None:
    before = {j.job.id for j in plan(done, "isr").jobs}
    decertify(done, "flat", CAMERA, data_ids=[{"detector": 3, "physical_filter": "r"}])
    made = plan(done, "isr")
    stale = [j for j in made.jobs if j.state == "stale"]
    assert [j.job.batch for j in stale] == ["3/r"] and stale[0].job.id not in before
    assert [i.role for i in stale[0].job.inputs] == ["raw", "bias", "gain", "dark", "defects"]


def test_a_frame_is_missing_where_its_flat_is_valid_at_another_time(done: Repository) -> None:
    """It would come out unflattened among frames that are flat."""
    decertify(done, "flat", CAMERA, None, "2025-03-01", data_ids=[{"detector": 3, "physical_filter": "g"}])
    made = plan(done, "isr")
    assert [j.job.batch for j in made.missing] == ["3/g", "3/g"] and made.counts()["isr", "exists"] == 4
    (reason,) = {j.reason for j in made.missing}
    assert reason.startswith("no flat: the nearest flat of detector 3 is valid 2025-03-01T00:00:00 to … (run ")
    assert reason.endswith("; to take it all the same: --accept flat")


def test_the_nearest_is_accepted_where_the_user_says_so(done: Repository) -> None:
    decertify(done, "flat", CAMERA, None, "2025-03-01", data_ids=[{"detector": 3, "physical_filter": "g"}])
    made = plan(done, "isr", accept=("flat",))
    assert not made.missing and all("flat" in [i.dataset_type for i in j.job.inputs] for j in made.jobs)
    (note,) = made.notes
    assert note.startswith("accepted for 2 jobs: the flat of run ") and "valid 2025-03-01T00:00:00 to …, is" in note
    with pytest.raises(UsageError, match="there is no calibration 'raw' to accept"):
        plan(done, "isr", accept=("raw",))


def test_a_gain_that_failed_is_done_without_and_a_flat_is_not(fresh: Repository) -> None:
    first = plan(fresh)
    gain, flat = of_task(first, "gain")[0], of_task(first, "flat")[-1]
    made = first.again(lost={gain.job.id: "it failed: no pairs"})
    assert [(j.job.task, j.reason) for j in made.missing] == [("gain", "it failed: no pairs")]
    with_gain = {j.job.batch for j in of_task(made, "isr") if "gain" in {i.role for i in j.job.inputs}}
    assert with_gain == {"4/g", "4/r"} and "3/" in gain.job.batch
    made = first.again(lost={flat.job.id: "it failed: saturated"})
    assert {j.reason for j in of_task(made, "isr") if j.state == "missing"} == {"no flat: it failed: saturated"}


@pytest.fixture
def three_nights(tmp_path: Path) -> Repository:
    """Calibrations and two science exposures of three nights, one detector."""
    nights = []
    for day in (15, 16, 18):
        one = Nines(tmp_path / f"n{day}", detectors=(4,), start=f"2025-01-{day}T01:00:00")
        one.calibrations()
        one.add("science", 2)
        nights.append(one)
    repo = filled(tmp_path / "repo", *nights)
    for day in (20250117, 20250114, 20250115):
        assert carry(repo, plan(repo, "calibs", where=f"exposure.day_obs = {day}")).ok
    return repo


def test_calibrations_are_those_that_the_library_finds(three_nights: Repository) -> None:
    from lsst.daf.butler import Butler

    made = plan(three_nights, "isr")
    assert len(made.jobs) == 6
    butler, used = Butler(str(three_nights.path), collections=f"{CAMERA}/calib"), set()
    for one in made.jobs:
        data_id = dict(one.job.outputs[0].data_id)
        record = butler.query_dimension_records("exposure", instrument=CAMERA, exposure=data_id["exposure"])[0]
        for given in one.job.inputs[1:]:
            more = {"physical_filter": record.physical_filter} if given.role == "flat" else {}
            where = {"instrument": CAMERA, "detector": data_id["detector"], **more}
            found = butler.find_dataset(given.role, timespan=record.timespan, **where)
            assert found is not None and str(found.id) == given.id
            used.add(given.id)
        frame = butler.get("bias", **data_id)
        assert frame.metadata["LSST BUTLER ID"] == next(i.id for i in one.job.inputs if i.role == "bias")
    assert len(used) == 15, "five kinds of three nights"


def test_validity_of_night_after_night(three_nights: Repository) -> None:
    spans = sorted(str(v.span) for v in certified(three_nights, "bias"))
    day = "2025-01-{}T12:00:00"
    assert spans == [
        f"[{day.format(14)}, {day.format(15)})",
        f"[{day.format(15)}, {day.format(17)})",
        f"[{day.format(17)}, ∞)",
    ]


def test_edges_of_validity(done: Repository) -> None:
    """A span holds its begin and not its end; whoever is exposed at its edge is in it."""
    from astropy.time import TimeDelta

    records = done.butler.query_dimension_records(
        "exposure", instrument=CAMERA, where="exposure.observation_type = 'science'"
    )
    (bias,) = [v for v in certified(done, "bias") if v.data_id["detector"] == 3]
    (ref,) = known_refs(done, [UUID(bias.id)])
    decertify(done, "bias", CAMERA)

    def found() -> list[bool]:
        made = plan(done, "isr", where="detector = 3")
        there = {j.job.outputs[0].data_id["exposure"]: j.state != "missing" for j in made.jobs}
        return [there[r.id] for r in sorted(records, key=lambda r: r.timespan.nsec)]

    when, moment = sorted((r.timespan for r in records), key=lambda t: t.nsec), TimeDelta(1e-5, format="sec")
    for span, expected in [
        ((when[1].begin, when[1].end), [False, True, False]),
        ((None, when[1].begin - moment), [True, False, False]),
        ((None, when[1].begin + moment), [True, True, False]),
        ((when[1].end - moment, None), [False, True, True]),
        ((when[1].end + moment, None), [False, False, True]),
    ]:
        decertify(done, "bias", CAMERA)
        certify(done, [ref], *(None if t is None else t.isot for t in span))
        assert found() == expected, span


def test_two_that_are_valid_in_one_exposure(done: Repository) -> None:
    from lsst.daf.butler import CalibrationLookupError

    made = plan(done, "isr", where="detector = 3")
    data_id = dict(made.jobs[0].job.outputs[0].data_id)
    (record,) = done.butler.query_dimension_records("exposure", instrument=CAMERA, exposure=data_id["exposure"])
    middle = (record.timespan.begin + (record.timespan.end - record.timespan.begin) / 2).isot
    assert carry(done, plan(done, "calibs", MEDIAN), certify=False).ok
    (new,) = [j for j in of_task(plan(done, "calibs", MEDIAN), "bias") if j.job.batch.startswith("3/")]
    (ref,) = known_refs(done, [UUID(new.job.id)])
    decertify(done, "bias", CAMERA, middle, data_ids=[{"detector": 3}])
    certify(done, [ref], middle)
    made = plan(done, "isr", where="detector = 3")
    assert [j.state for j in made.jobs] == ["missing", "exists", "exists"]
    assert made.jobs[0].reason.startswith("2 bias are valid during the exposure, of ninecam/calibgen/")
    with pytest.raises(CalibrationLookupError):
        done.butler.find_dataset(
            "bias", instrument=CAMERA, detector=3, timespan=record.timespan, collections=f"{CAMERA}/calib"
        )


def test_too_few_frames_are_told(tmp_path: Path) -> None:
    night = Nines(tmp_path / "n", detectors=(1,))
    night.add("bias", 2)
    night.add("flat", 1)
    with filled(tmp_path / "repo", night) as repo:
        made = plan(repo, "calibs")
    assert made.counts() == {("bias", "new"): 1, ("flat", "new"): 1, ("defects", "new"): 1}
    assert made.notes == ["no gain of detector 1: it takes 2 flat frames, there are 1"]


def test_a_product_that_cannot_be_made_is_not_used(tmp_path: Path) -> None:
    night = Nines(tmp_path / "n", detectors=(1,))
    night.add("dark", 2)
    night.add("science", 1)
    with filled(tmp_path / "repo", night) as repo:
        made = plan(repo)
    assert states(made) == {"dark": "missing", "defects": "new", "isr": "missing"}


def test_conditions(done: Repository) -> None:
    assert len(plan(done, "isr", where="physical_filter = 'r'").jobs) == 2
    with pytest.raises(UsageError, match=r"no raw frame of ninecam fulfils '.detector = 99.'"):
        plan(done, "isr", where="detector = 99")
    for wrong in ("detector = ", "colour = 'r'", "exposure.day_obs = 'monday'"):
        with pytest.raises(UsageError) as caught:
            plan(done, "isr", where=wrong)
        assert wrong in str(caught.value.where), "the condition is named"


def test_several_instruments(tmp_path: Path) -> None:
    nights = [Nines(tmp_path / name, detectors=(1,), camera=name).calibrations() for name in ("one", "two")]
    for night in nights:
        night.add("science")
    with filled(tmp_path / "repo", *nights) as repo:
        with pytest.raises(UsageError, match="the repository has 2 instruments: one, two") as caught:
            plan(repo)
        assert caught.value.remedy == "choose one with --instrument"
        made = plan(repo, instrument="TWO")
        assert made.instrument == "two"
        assert {j.job.outputs[0].data_id["instrument"] for j in made.jobs} == {"two"}
        assert carry(repo, made).ok
        assert set(states(plan(repo, instrument="one")).values()) == {"new"}
        with pytest.raises(UsageError, match="has no instrument 'three'"):
            plan(repo, instrument="three")


def test_an_empty_repository(tmp_path: Path) -> None:
    from fullwell.repo.repository import create

    with create(tmp_path / "repo") as repo, pytest.raises(UsageError, match="has 0 instruments"):
        plan(repo)


def test_calibrations_of_a_set_up_are_looked_for_there(done: Repository) -> None:
    assert states(plan(done, "isr", setup="fast")) == {"isr": "missing"}
    assert carry(done, plan(done, "calibs", MEDIAN), setup="fast").ok
    made = plan(done, "isr", setup="fast")
    assert states(made) == {"isr": "stale"} and len(certified(done, "bias", setup="fast")) == 2


def test_the_id_says_all_that_a_dataset_is_made_of(fresh: Repository) -> None:
    job = plan(fresh).jobs[0].job
    given: dict[str, Any] = {
        "task": job.task, "dataset": "gain", "data_id": dict(job.outputs[0].data_id), "inputs": job.inputs,
        "config": dict(job.config), "version": fullwell.__version__,
    }  # fmt: skip
    assert expected_id(**given) == job.id == expected_id(**{**given, "inputs": job.inputs[::-1]})
    swapped = (replace(job.inputs[0], role="flat_frames"), *job.inputs[1:])
    for key, other in [
        ("task", "other"), ("dataset", "bias"), ("data_id", {"instrument": CAMERA, "detector": 9}),
        ("inputs", job.inputs[1:]), ("inputs", swapped), ("config", {"off": ["dark"]}), ("version", "99"),
    ]:  # fmt: skip
        assert expected_id(**{**given, key: other}) != job.id, key


def test_a_camera_file_counts_by_what_it_holds(fresh: Repository, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.toml", "copy.toml", "other.toml")]
    for path, note in zip(files, ("", "", "# moved\n"), strict=True):
        path.write_text(f'name = "mine"\n{note}')
    one, copy, other = ([j.job.id for j in plan(fresh, config={"camera": str(path)}).jobs] for path in files)
    assert one == copy and not set(one) & set(other)
    with pytest.raises(FileError, match=r"gone\.toml"):
        plan(fresh, config={"camera": str(tmp_path / "gone.toml")})


def test_what_is_valid_at_no_time_is_told_with_the_way_out(fresh: Repository) -> None:
    made = plan(fresh, "calibs")
    assert carry(fresh, made, certify=False).ok
    again = plan(fresh, "calibs")
    assert set(states(again).values()) == {"exists"}
    run = f"{CAMERA}/calibgen/{made.stamp}"
    told = f"fullwell repo certify gain bias dark flat defects --run {run} --begin 2025-01-14T12:00:00"
    (note,) = again.notes
    assert note == f"12 calibrations of {run} are there, but valid at no time; to make them valid: {told}"
    refs = known_refs(fresh, [UUID(j.job.id) for j in again.jobs])
    certify(fresh, refs, "2025-01-14T12:00:00")
    assert not plan(fresh, "calibs").notes


def test_a_night_of_biases_alone_is_reduced(tmp_path: Path) -> None:
    """Defects are found in darks and flats: where there are none, none are looked for."""
    night = Nines(tmp_path / "raw", detectors=(3,))
    night.add("bias", 3)
    night.add("science")
    with filled(tmp_path / "repo", night) as repo:
        made = plan(repo)
        assert states(made) == {"bias": "new", "isr": "new"}
        assert carry(repo, made).ok
