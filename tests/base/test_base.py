"""Errors, settings, records, registry, progress."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from pydantic import Field

from fullwell.base import progress as bars
from fullwell.base.config import StepConfig, load
from fullwell.base.errors import ConfigError, FileError, MissingProduct, UsageError
from fullwell.base.provenance import Record, content_id
from fullwell.base.registry import Registry


class Config(StepConfig):
    """Settings of a test."""

    skip_leading: int = Field(3, ge=0)


def test_error_text_says_what_where_and_what_to_try() -> None:
    err = FileError("the file ends early", where="a.fits[2]", remedy="copy it again")
    assert str(err) == "FW100: the file ends early\n  where: a.fits[2]\n  try:   copy it again"
    assert isinstance(err, OSError)
    assert isinstance(MissingProduct("x"), LookupError)


def test_errors_travel_between_processes() -> None:
    err = pickle.loads(pickle.dumps(UsageError("a", where="b", remedy="c", code="FW611")))
    assert str(err) == "FW611: a\n  where: b\n  try:   c"


def test_unknown_setting_proposes_the_right_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'skip_leading'"):
        load(Config, {"skip_leding": 2})


def test_value_out_of_range_names_the_setting() -> None:
    with pytest.raises(ConfigError, match=r"setting 'skip_leading': .*greater than or equal to 0.*-1"):
        load(Config, {"skip_leading": -1})


def test_settings_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        Config().skip_leading = 4  # type: ignore[misc]


def test_record_round_trip() -> None:
    record = Record("dark", "left out", {"a": 1}, {"dark": "x"}, "why", {"level": [1.5]})
    assert Record.from_json(record.to_json()) == record


def test_content_id_depends_on_content_type_and_shape_only() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert content_id(a) == content_id(a.copy())
    assert content_id(a) != content_id(a.reshape(3, 2))
    assert content_id(a) != content_id(a.astype(np.float64))
    assert content_id(a[:, ::-1]) == content_id(np.ascontiguousarray(a[:, ::-1]))


def test_registry_proposes_a_near_name() -> None:
    registry: Registry[int] = Registry("figure")
    registry.add("overview", 1)
    assert registry["overview"] == 1 and "overview" in registry
    with pytest.raises(UsageError, match=r"no figure named 'overvew'[\s\S]*did you mean 'overview'"):
        registry["overvew"]


def test_progress_is_silent_until_a_door_installs_a_handler() -> None:
    seen = []

    def draw(items, label, total):
        seen.append((label, total))
        yield from items

    assert list(bars.progress([1, 2], "ISR")) == [1, 2]
    with bars.handler(draw):
        assert list(bars.progress([1, 2], "ISR")) == [1, 2]
    assert seen == [("ISR", 2)]
    assert list(bars.progress(iter([3]), "x")) == [3]
