"""Instruments as data folders: geometry, header map, recipe; and how to read any header."""

from fullwell.instruments.check import Finding, check
from fullwell.instruments.headers import FileHeaders, HduHeader
from fullwell.instruments.instrument import Instrument, from_mapping
from fullwell.instruments.options import CameraOptions
from fullwell.instruments.registry import INSTRUMENTS, get, identify, names
from fullwell.instruments.sections import Section, format_section, parse_section

__all__ = [
    "INSTRUMENTS",
    "CameraOptions",
    "FileHeaders",
    "Finding",
    "HduHeader",
    "Instrument",
    "Section",
    "check",
    "format_section",
    "from_mapping",
    "get",
    "identify",
    "names",
    "parse_section",
]
