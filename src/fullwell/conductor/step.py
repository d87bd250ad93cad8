"""Step: one correction as the conductor sees it, and the `@step` decorator that declares it.

An effect file writes an in-place function on blocks and declares it::

    @step("dark", needs="dark", unit="any", after=("bias",), config=DarkConfig)
    def remove_block(block, dark, cfg): ...

    @remove_block.forward
    def add_block(block, dark, cfg): ...

    remove, add = remove_block.verbs()

A step that only flags has no forward direction and publishes ``flag = flag_block.verb()``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from fullwell.base.config import StepConfig
from fullwell.base.errors import UsageError
from fullwell.base.registry import Registry

__all__ = ["STEPS", "Step", "step"]

STEPS: Registry[Step] = Registry("step", "fullwell.effects")
Scope = Literal["rows", "detector"]


@dataclass
class Step:
    """A declared correction.

    Attributes
    ----------
    name : as in recipes and histories.
    function : ``(block, given, cfg)`` for scope "rows", ``(frame, product, cfg)`` for "detector"; in place.
    needs : role of the product it takes ("bias", "gain"), None if it takes none; `optional` if it may be absent.
    unit : "adu", "electron" or "any" that it takes; `leaves` the unit it leaves ("same" by default).
    after : names of steps that must come before, where they are in the recipe.
    area : "raw" before assembly, "assembled" after, "any".
    scope : "rows" or "detector".
    config : class of its settings.
    digest : ``(product, layout, exposure) -> Any``, the product in the form of blocks, made once.
    prepare : ``(rows, digested, cfg) -> Any``, what must be measured before the first block; its result is
        what `function` then gets as `given`.
    finish : ``(exposure, given, cfg) -> dict``, numbers for the history, after the last block.
    """

    name: str
    function: Callable[[Any, Any, Any], None]
    needs: str | None = None
    optional: bool = False
    unit: str = "any"
    leaves: str = "same"
    after: tuple[str, ...] = ()
    area: Literal["raw", "assembled", "any"] = "any"
    scope: Scope = "rows"
    config: type[StepConfig] = StepConfig
    digest: Callable[..., Any] | None = None
    prepare: Callable[..., Any] | None = None
    finish: Callable[..., dict[str, Any]] | None = None
    adder: Callable[[Any, Any, Any], None] | None = None

    @property
    def note(self) -> str:
        """The physics note: the docstring of the effect's file."""
        import sys

        return (sys.modules[self.function.__module__].__doc__ or "").strip()

    def forward(self, function: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
        """Decorator: the opposite direction, which puts the effect in."""
        self.adder = function
        return function

    def digesting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: how the product is brought into the form of blocks."""
        self.digest = function
        return function

    def preparing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: what must be measured before the first block."""
        self.prepare = function
        return function

    def finishing(self, function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        """Decorator: the numbers that go into the history."""
        self.finish = function
        return function

    def __call__(self, block: Any, given: Any, cfg: Any) -> None:
        """Run the removing direction in place."""
        self.function(block, given, cfg)

    def verb(self, name: Literal["remove", "add"] = "remove") -> Callable[..., Any]:
        """One public function ``(frame, product=None, config=None)`` on frames; it copies once.

        An effect that only flags publishes ``flag = flag_block.verb()``.
        """
        from fullwell.conductor.verbs import make_verb

        return make_verb(self, name)

    def verbs(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The public pair ``remove(frame, product=None, config=None)`` and ``add(…)``; both copy once."""
        return self.verb("remove"), self.verb("add")

    def direction(self, name: Literal["remove", "add"]) -> Callable[[Any, Any, Any], None]:
        """The in-place function of one direction.

        Raises
        ------
        UsageError
            the effect cannot be put in (it only flags).
        """
        if name == "remove":
            return self.function
        if self.adder is None:
            raise UsageError(f"step '{self.name}' only flags pixels; it has no forward direction")
        return self.adder


def step(name: str, **declared: Any) -> Callable[[Callable[[Any, Any, Any], None]], Step]:
    """Declare a step; keywords are the attributes of `Step`. Registers it under `name`."""

    def declare(function: Callable[[Any, Any, Any], None]) -> Step:
        return STEPS.add(name, Step(name, function, **declared))

    return declare
