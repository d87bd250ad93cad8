"""Camera tests after EMVA 1288, release 4.0 (Linear): from pairs of images in light and dark to the data sheet."""

from fullwell.measure.emva.characterise import EmvaConfig, Loader, characterise
from fullwell.measure.emva.levels import PairMoments, pair_moments
from fullwell.measure.emva.spatial import high_pass, spatial_noise, split_variance, stack_moments

__all__ = [
    "EmvaConfig",
    "Loader",
    "PairMoments",
    "characterise",
    "high_pass",
    "pair_moments",
    "spatial_noise",
    "split_variance",
    "stack_moments",
]
