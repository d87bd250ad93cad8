"""From file to file: the same pixels as in memory, and the same header but for what tells the moment of writing."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from fullwell import io
from fullwell.base.errors import FullwellError
from fullwell.reduction import isr, isr_file
from fullwell.simulation import ScienceScene, exact_products, sensor_of, simulate

MOMENT = {"CHECKSUM", "DATASUM", "DATE"}


@pytest.fixture(scope="module", params=["demo", "lsst-itl"])
def night(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A raw file of one HDU or of sixteen, and the products of its sensor."""
    sensor = sensor_of(request.param, 3)
    raw = simulate(ScienceScene(band="r" if request.param == "demo" else "g"), sensor, seed=4).frame
    path = tmp_path_factory.mktemp("raw") / "raw.fits"
    io.write_raw(raw, path)
    return path, exact_products(sensor, "r" if request.param == "demo" else "g")


def test_mapped_equals_memory(night: tuple[Path, dict], tmp_path: Path) -> None:
    path, products = night
    done = isr_file(path, tmp_path / "a.fits", products, off=("interpolation",), metadata={"FWTEST": 1})
    assert done.mapped, done.reason
    frame = isr(io.read(path), products, off=("interpolation",))
    frame.metadata["FWTEST"] = 1
    io.write_frame(frame, tmp_path / "b.fits")
    with fits.open(tmp_path / "a.fits", checksum=True) as a, fits.open(tmp_path / "b.fits", checksum=True) as b:
        assert [h.name for h in a] == [h.name for h in b]
        for one, two in zip(a, b, strict=True):
            if one.data is not None and one.is_image:
                assert np.array_equal(one.data, two.data, equal_nan=one.data.dtype.kind == "f"), one.name
            keys = (set(one.header) ^ set(two.header)) - MOMENT
            assert not keys
            assert all(one.header[k] == two.header[k] for k in set(one.header) - MOMENT if k not in ("", "COMMENT"))
    again = io.read(tmp_path / "a.fits")
    assert [r.step for r in again.history] == [r.step for r in frame.history]
    assert again.unit == "electron"


def test_a_step_that_needs_the_detector_goes_through_memory(night: tuple[Path, dict], tmp_path: Path) -> None:
    path, products = night
    done = isr_file(path, tmp_path / "c.fits", products)
    assert not done.mapped and done.reason == "step 'interpolation' needs the whole detector"
    frame = isr(io.read(path), products)
    assert np.array_equal(io.read(tmp_path / "c.fits").image.array, frame.image.array, equal_nan=True)


@pytest.mark.parametrize("name", ["raw.fits.gz", "raw.fits.fz", "scaled.fits"])
def test_files_that_cannot_be_mapped(night: tuple[Path, dict], tmp_path: Path, name: str) -> None:
    """Archives hand out gzipped and tile-compressed frames."""
    path, products = night
    other = tmp_path / name
    if name.endswith(".gz"):
        other.write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
    else:
        with fits.open(path) as hdus:
            out = [fits.PrimaryHDU(header=hdus[0].header)] if hdus[0].data is None else []
            for hdu in hdus[len(out) :]:
                if name == "scaled.fits":
                    hdu.data = (hdu.data // 2 * 2).astype(np.float32)
                    hdu.scale("int16", bscale=2.0, bzero=65536.0)
                    out.append(hdu)
                else:
                    out.append(fits.CompImageHDU(hdu.data, hdu.header, name=hdu.name, compression_type="RICE_1"))
            fits.HDUList(out if isinstance(out[0], fits.PrimaryHDU) else [fits.PrimaryHDU(), *out]).writeto(other)
    done = isr_file(other, tmp_path / "e.fits", products, off=("interpolation",))
    assert not done.mapped and done.reason
    frame = isr(io.read(other), products, off=("interpolation",))
    assert np.array_equal(io.read(tmp_path / "e.fits").image.array, frame.image.array, equal_nan=True)


def test_nothing_is_left_where_the_run_fails(night: tuple[Path, dict], tmp_path: Path) -> None:
    path, products = night
    broken = tmp_path / "broken.fits"
    broken.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FullwellError, match=r"broken\.fits"):
        isr_file(broken, tmp_path / "d.fits", products, off=("interpolation",))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.fits"]
