"""Sources put into frames, so that no statistic of flux and variance can tell them from data."""

from fullwell.injection.effective_gain import Convention, EffectiveGain
from fullwell.injection.estimate import effective_gain
from fullwell.injection.inject import Injected, inject

__all__ = ["Convention", "EffectiveGain", "Injected", "effective_gain", "inject"]
