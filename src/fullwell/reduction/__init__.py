"""ISR: a recipe on a frame; which calibration belongs to which frame."""

from fullwell.reduction.files import FileRun, isr_file
from fullwell.reduction.isr import isr, plan
from fullwell.reduction.matching import cut_out, differences, match

__all__ = ["FileRun", "cut_out", "differences", "isr", "isr_file", "match", "plan"]
