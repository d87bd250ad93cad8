"""Sources put into frames, so that no statistic of flux and variance can tell them from data."""

from fullwell.injection.effective_gain import Convention, EffectiveGain
from fullwell.injection.estimate import effective_gain
from fullwell.injection.inject import Injected, inject
from fullwell.injection.report import Report, Verdict
from fullwell.injection.verify import distinguishability

__all__ = [
    "Convention",
    "EffectiveGain",
    "Injected",
    "Report",
    "Verdict",
    "distinguishability",
    "effective_gain",
    "inject",
]
