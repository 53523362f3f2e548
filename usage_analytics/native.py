"""Loads the pieces that are written in C, where they were compiled; without one the same work is done more slowly."""

import ctypes
import logging
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

LOGGER = logging.getLogger(__name__)


def compiled_piece(package: Path, name: str, without: str) -> ctypes.CDLL | None:
    """The library ``_<name>`` of a package's folder; None, with what then happens in the log, where there is none."""
    built = [path for suffix in EXTENSION_SUFFIXES if (path := package / f"_{name}{suffix}").exists()]
    if not built:
        LOGGER.info("%s was not compiled; %s, which is slower", name, without)
        return None
    return loaded(built[0], without)


def loaded(path: Path, without: str) -> ctypes.CDLL | None:
    """A library; None, with a warning, where this machine cannot load it."""
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        LOGGER.warning("%s cannot be loaded (%s); %s, which is slower", path.name, error, without)
        return None
