"""fullwell: CCD images from raw counts to calibrated electrons whose variance can be trusted.

The names below are loaded when they are first used, so that ``import fullwell as fw`` costs nothing::

    import fullwell as fw

    frame = fw.read("raw.fits")
    done = fw.isr(frame, {"bias": fw.read_product("bias.fits"), "gain": fw.read_product("gain.ecsv")})
    fw.write(done, "calibrated.fits")
    fw.effects.flat.remove(done, flat)

`VERBS` says where each name lives; the rooms (``fw.effects``, ``fw.instruments`` …) are reached the same way.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

VERBS: dict[str, str] = {
    "Amplifier": "cameras",
    "Bias": "products",
    "Box": "cameras",
    "Camera": "cameras",
    "Crosstalk": "products",
    "Dark": "products",
    "Defects": "products",
    "Detector": "cameras",
    "Flat": "products",
    "Frame": "frames",
    "FullwellError": "base.errors",
    "Gain": "products",
    "Linearity": "products",
    "Mask": "frames",
    "Observation": "frames",
    "Plane": "frames",
    "Ptc": "products",
    "Repository": "repo",
    "build_bias": "measure",
    "build_dark": "measure",
    "build_defects": "measure",
    "build_flat": "measure",
    "check_variance": "measure",
    "combine": "measure",
    "create_repo": "repo:create",
    "demo": "journeys.demo:run",
    "inject": "injection",
    "isr": "reduction",
    "isr_file": "reduction",
    "noise_budget": "measure",
    "open_repo": "repo",
    "pair_gain": "measure",
    "ptc": "measure.ptc:photon_transfer",
    "read": "io",
    "read_camera": "io",
    "read_headers": "io",
    "read_product": "io",
    "reduce": "journeys.reduce:run",
    "simulate": "simulation",
    "simulated_image": "simulation",
    "without_signal": "measure",
    "write": "io:write_frame",
    "write_product": "io",
    "write_raw": "io",
}
"""Public name -> room that it comes from, or ``module:name`` where the name differs."""

ROOMS: tuple[str, ...] = (
    "cameras",
    "cli",
    "conductor",
    "effects",
    "frames",
    "injection",
    "instruments",
    "io",
    "journeys",
    "kernels",
    "measure",
    "pipeline",
    "plots",
    "products",
    "recipes",
    "reduction",
    "repo",
    "report",
    "simulation",
)
"""Rooms that are imported when they are first named."""

__all__ = ["ROOMS", "VERBS", "__version__", *sorted(VERBS)]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in VERBS:
        module, _, attribute = VERBS[name].partition(":")
        value = getattr(import_module(f"fullwell.{module}"), attribute or name)
        globals()[name] = value
        return value
    if name in ROOMS:
        return import_module(f"fullwell.{name}")
    import difflib

    near = difflib.get_close_matches(name, [*VERBS, *ROOMS], n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise AttributeError(f"fullwell has no name '{name}'{hint}")


def __dir__() -> list[str]:
    return sorted([*globals(), *VERBS, *ROOMS])
