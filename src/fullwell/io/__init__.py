"""Files to objects and back; the only room that opens files."""

from fullwell.io.anytable import read_table
from fullwell.io.atomic import atomic_path, sweep
from fullwell.io.camerafile import read_camera
from fullwell.io.cameratest import CameraTest, find_camera_test, read_descriptor
from fullwell.io.ccddata import from_ccddata, to_ccddata
from fullwell.io.folders import file_digest, make_folder
from fullwell.io.framefile import write_frame
from fullwell.io.keywords import output_header
from fullwell.io.layout import frame_hdus, plain_hdus
from fullwell.io.partial import read_part
from fullwell.io.productfile import read_product, write_product
from fullwell.io.raw import detectors_of, write_raw
from fullwell.io.reading import read, read_headers, read_outline, read_series
from fullwell.io.tablesfile import write_lsst

__all__ = [
    "CameraTest",
    "atomic_path",
    "detectors_of",
    "file_digest",
    "find_camera_test",
    "frame_hdus",
    "from_ccddata",
    "make_folder",
    "output_header",
    "plain_hdus",
    "read",
    "read_camera",
    "read_descriptor",
    "read_headers",
    "read_outline",
    "read_part",
    "read_product",
    "read_series",
    "read_table",
    "sweep",
    "to_ccddata",
    "write_frame",
    "write_lsst",
    "write_product",
    "write_raw",
]
