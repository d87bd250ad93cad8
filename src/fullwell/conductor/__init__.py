"""The conductor: blocks of rows, digested calibrations, the `@step` decorator, running steps."""

from fullwell.base.config import StepConfig
from fullwell.conductor.block import Block, Buffers, Exposure
from fullwell.conductor.digest import Digests, amp_order, rows_of
from fullwell.conductor.layout import Layout
from fullwell.conductor.program import Program, Rows, Stage, Workers
from fullwell.conductor.step import STEPS, Step, step
from fullwell.conductor.verbs import check_product

__all__ = [
    "STEPS",
    "Block",
    "Buffers",
    "Digests",
    "Exposure",
    "Layout",
    "Program",
    "Rows",
    "Stage",
    "Step",
    "StepConfig",
    "Workers",
    "amp_order",
    "check_product",
    "rows_of",
    "step",
]
