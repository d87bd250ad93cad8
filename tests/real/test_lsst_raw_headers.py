"""Real raw headers of the Rubin cameras: ids, detector, filter, type, times, geometry; the assembled truth image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fullwell import instruments, io
from fullwell.base.errors import HeaderError
from fullwell.cameras import Detector
from fullwell.instruments import FileHeaders, parse_section

FILES: dict[str, dict[str, Any]] = {
    "header_only/LSSTCam_30211212000310-R22-S22-det098.fits": {
        "instrument": "lsstcam",
        "detector": "R22_S22",
        "detector_id": 98,
        "exposure_id": 3021121200310,
        "obs_id": "MC_C_20211212_000310",
        "kind": "flat",
        "filter": "SDSSi",
        "band": "i",
        "exposure_time": 7.83172,
        "dark_time": 8.143,
        "begin": "2021-12-13T04:59:33.398",
        "day_obs": 20211212,
        "seq_num": 310,
        "type": "E2V",
    },
    "header_only/LSSTCam_3019031900001-R10-S02-det029.fits": {
        "instrument": "lsstcam",
        "detector": "R10_S02",
        "detector_id": 29,
        "exposure_id": 3019031900001,
        "kind": "bias",
        "filter": "",
        "exposure_time": 0.0,
        "dark_time": 0.0,
        "begin": "2019-03-19T15:51:05.145",
        "type": "ITL",
    },
    "header_only/ComCam_3019053000001-R22-S00-det000.fits": {
        "instrument": "lsstcomcam",
        "detector": "R22_S00",
        "detector_id": 0,
        "exposure_id": 3019053000001,
        "kind": "bias",
        "dark_time": 0.398,
        "type": "ITL",
    },
    "header_only/LATISS_3018092000065-det000.fits": {
        "instrument": "latiss",
        "detector": "RXX_S00",
        "detector_id": 0,
        "exposure_id": 3018092000065,
        "kind": "unknown",
        "exposure_time": 27.0,
        "dark_time": 27.0,
        "type": "ITL",
    },
    "header_only/TS3_201811151255111-R433-S00-det433.fits": {
        "instrument": "lsst-ts8",
        "detector": "E2V-CCD250-411",
        "exposure_id": 201811151255111,
        "kind": "flat",
        "filter": "550CutOn",
        "exposure_time": 44.631,
        "type": "E2V",
    },
    "header_only/imsim_00204595-R11-S20-det042.fits.gz": {
        "instrument": "lsstcam",
        "detector": "R11_S20",
        "detector_id": 42,
        "exposure_id": 204595,
        "kind": "science",
        "filter": "i",
        "band": "i",
        "exposure_time": 30.0,
        "begin": "2022-10-05T06:53:26.357",
        "type": "ITL",
    },
    "ts8_E2V-CCD250-179_flat_700nm_seg00only.fits.gz": {
        "instrument": "lsst-ts8",
        "detector": "E2V-CCD250-179",
        "exposure_id": 201807241028453,
        "kind": "flat",
        "filter": "z",
        "exposure_time": 21.913,
        "type": "E2V",
    },
    "e2v_spot.fits.gz": {
        "instrument": "lsstcam",
        "detector": "R22_S11",
        "detector_id": 94,
        "kind": "spot",
        "dark_time": 18.859,
        "type": "E2V",
    },
}


def load(shared: Path, name: str) -> FileHeaders:
    return io.read_headers(shared / "data" / "lsst-raw" / name)


@pytest.mark.parametrize("name", FILES)
def test_headers_are_translated(shared: Path, name: str) -> None:
    headers = load(shared, name)
    expected = dict(FILES[name])
    kind = expected.pop("type")
    instrument = instruments.identify(headers)
    obs = instrument.observation(headers)
    assert {key: getattr(obs, key) for key in expected} == expected
    detector = instrument.detector(headers)
    assert detector.physical_type == kind and len(detector) == 16
    assert (detector.name, detector.id) == (obs.detector, obs.detector_id)
    assert detector.box.shape == ((4004, 4096) if kind == "E2V" else (4000, 4072))
    detector.check_tiling()


def placed(detector: Detector, headers: FileHeaders, *, mirror: bool) -> list[str]:
    """Amplifiers whose DETSEC (its y counted from the other end where `mirror`) differs from the description."""
    wrong = []
    ny = detector.box.height
    for hdu in headers.images:
        section = parse_section(hdu.header["DETSEC"], keyword="DETSEC")
        assert section is not None
        amp = detector[hdu.name.replace("Segment", "C")]
        y0 = ny - section.box.y1 if mirror else section.box.y0
        flip_y = section.flip_y != mirror
        same = (section.box.x0, y0, section.flip_x, flip_y)
        if same != (amp.trimmed.x0, amp.trimmed.y0, amp.orientation.flip_x, amp.orientation.flip_y):
            wrong.append(amp.name)
    return wrong


@pytest.mark.parametrize("name", [n for n in FILES if "imsim" not in n and "TS3" not in n])
def test_detsec_of_real_cameras_counts_y_from_the_other_end(shared: Path, name: str) -> None:
    """Names place the amplifiers: the description agrees with DETSEC after y -> Ny + 1 - y, and without it nowhere."""
    headers = load(shared, name)
    detector = instruments.identify(headers).detector(headers)
    assert placed(detector, headers, mirror=True) == []
    assert len(placed(detector, headers, mirror=False)) == 16


def test_detsec_of_ts3_agrees_as_it_stands(shared: Path) -> None:
    headers = load(shared, "header_only/TS3_201811151255111-R433-S00-det433.fits")
    detector = instruments.identify(headers).detector(headers)
    assert placed(detector, headers, mirror=False) == []
    assert detector["C10"].shape == (2048, 572)
    assert detector["C10"].serial_overscan.width == 50


def test_spot_mask_is_assembled_as_the_truth(shared: Path) -> None:
    """0/1 mask in 16 segments: trimmed, flipped and placed, equal to the last pixel."""
    from astropy.io import fits

    folder = shared / "data" / "lsst-raw"
    headers = load(shared, "e2v_spot.fits.gz")
    detector = instruments.identify(headers).detector(headers)
    out = np.full(detector.box.shape, -1.0, np.float32)
    with fits.open(folder / "e2v_spot.fits.gz") as raw:
        for amp in detector:
            segment = amp.hdu_orientation.undo(raw[amp.hdu].data)
            out[amp.trimmed.slices] = amp.orientation.apply(segment[amp.data.slices])
    truth = fits.getdata(folder / "e2v_expected_assembled.fits.gz")
    np.testing.assert_array_equal(out, truth)


def test_spot_mask_read_as_a_frame(shared: Path) -> None:
    """The raw mosaic holds each segment where the camera says."""
    from astropy.io import fits

    folder = shared / "data" / "lsst-raw"
    frame = io.read(folder / "e2v_spot.fits.gz")
    truth = fits.getdata(folder / "e2v_expected_assembled.fits.gz")
    assert frame.detector is not None
    for amp in frame.detector:
        readout = amp.raw_orientation.undo(frame.image.array[amp.raw.slices])
        np.testing.assert_array_equal(amp.orientation.apply(readout[amp.data.slices]), truth[amp.trimmed.slices])


def test_guider_stamps_are_refused_with_a_reason(shared: Path) -> None:
    headers = load(shared, "MC_C_20240918_000013_R00_SG0_guider.fits.gz")
    instrument = instruments.identify(headers)
    obs = instrument.observation(headers)
    assert (obs.detector, obs.detector_id, obs.exposure_id, obs.filter) == ("R00_SG0", 189, 2024091800013, "ef_43")
    with pytest.raises(HeaderError, match="guider stamps"):
        instrument.detector(headers)


def test_laboratory_stand_without_folder_is_read_by_its_sections(shared: Path) -> None:
    headers = load(shared, "header_only/UCD_3023073000237-R22-S01-det001.fits")
    instrument = instruments.identify(headers)
    assert instrument.name == "generic"
    detector = instrument.detector(headers)
    assert len(detector) == 16 and detector.box.shape == (4000, 4072)
    obs = instrument.observation(headers)
    assert (obs.kind, obs.filter, obs.exposure_time, obs.dark_time) == ("flat", "r", 2.0, 3.082)


def test_segment00_of_ts8_has_the_statistics_of_its_description(shared: Path) -> None:
    """Settling prescan columns, overscan level and signal as in the README of the data: order and boxes are right."""
    frame = io.read(shared / "data" / "lsst-raw" / "ts8_E2V-CCD250-179_flat_700nm_seg00only.fits.gz")
    assert frame.detector is not None
    amp = frame.detector["C00"]
    readout = amp.raw_orientation.undo(frame.image.array[amp.raw.slices])
    prescan = readout[100:1900][:, amp.prescan.slices[1]]
    expected = [25397, 26839.5, 26957, 26994, 27014, 27026, 27029, 27030, 27035, 27036]
    assert [float(np.median(column)) for column in prescan.T] == expected
    overscan = readout[100:1900][:, amp.serial_overscan.slices[1]]
    assert [float(np.median(c)) for c in overscan[:, :4].T] == [27030, 27028, 27027, 27026]
    level = float(np.median(overscan[:, 8:48]))
    assert level == 27026.0
    assert abs(float(np.median(readout[500:1500, 100:450])) - level - 20785.9) < 0.5  # integers: half a count
    base = overscan[:, 8:48].mean()  # columns 530 to 569
    last, first = (readout[100:1900, amp.data.x1 + i].mean() - base for i in (-1, 0))
    assert (round(last, 1), round(first, 3)) == (20739.2, 4.432)  # last active column, first overscan column
