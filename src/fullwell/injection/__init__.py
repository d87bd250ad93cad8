"""Sources put into frames, so that no statistic of flux and variance can tell them from data."""

from fullwell.injection.effective_gain import Convention, EffectiveGain

__all__ = ["Convention", "EffectiveGain"]
