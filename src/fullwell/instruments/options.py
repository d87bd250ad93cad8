"""What a user may state about a camera when its headers do not, or are wrong."""

from __future__ import annotations

from pydantic import Field

from fullwell.base.config import StepConfig

__all__ = ["CameraOptions"]


class CameraOptions(StepConfig):
    """Statements of the user about the files; each overrides the headers.

    Sections are FITS strings (``[x1:x2,y1:y2]``, from 1, inclusive) in the raw image; in a file with
    one HDU per amplifier they hold in each HDU.
    """

    overscan: str = Field(
        default="auto", description="serial overscan: a section, 'auto' (as the headers say) or 'none' (use none)"
    )
    parallel_overscan: str = Field(default="auto", description="parallel overscan: a section, 'auto' or 'none'")
    trim: str = Field(default="auto", description="pixels to keep: a section, 'auto' or 'none' (keep all)")
    gain: float | None = Field(default=None, gt=0, description="[electron/adu]")
    read_noise: float | None = Field(default=None, ge=0, description="[electron]")
    saturation: float | None = Field(default=None, gt=0, description="[adu above the overscan]")
    suspect: float | None = Field(default=None, gt=0, description="[adu above the overscan]")
    detector: str | int | None = Field(
        default=None, description="which detector of a file that holds several: name or number"
    )
    hdu: str | int | None = Field(default=None, description="which HDU holds the raw image: EXTNAME or number")
    corner: str | None = Field(
        default=None, pattern="^(LL|LR|UL|UR)$", description="raw corner where read-out starts, one amplifier"
    )

    @property
    def states_geometry(self) -> bool:
        """Whether any section or corner is given."""
        return (self.overscan, self.parallel_overscan, self.trim) != ("auto",) * 3 or self.corner is not None

    def values(self) -> dict[str, float]:
        """The electronics that were stated: label of `Amplifier` -> number."""
        named = {label: getattr(self, label) for label in ("gain", "read_noise", "saturation", "suspect")}
        return {label: value for label, value in named.items() if value is not None}
