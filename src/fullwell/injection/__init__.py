"""Sources put into frames, so that no statistic of flux and variance can tell them from data."""

from fullwell.injection.effective_gain import EffectiveGain
from fullwell.injection.estimate import effective_gain
from fullwell.injection.generate import make_catalog
from fullwell.injection.inject import Injected, inject
from fullwell.injection.rawframes import InjectedRaw, inject_raw
from fullwell.injection.report import Report, Verdict
from fullwell.injection.verify import distinguishability

__all__ = [
    "EffectiveGain",
    "Injected",
    "InjectedRaw",
    "Report",
    "Verdict",
    "distinguishability",
    "effective_gain",
    "inject",
    "inject_raw",
    "make_catalog",
]

for _name, _verb in (
    ("catalog", make_catalog),
    ("distinguishability", distinguishability),
    ("effective_gain", effective_gain),
    ("raw", inject_raw),
):
    setattr(inject, _name, _verb)
