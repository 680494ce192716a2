"""onnxruntime, with its reports to its maker switched off.

Official Linux builds from 1.29 on send events about process, sessions and models, and keep an
identifier of the device below the user's cache folder, unless this variable is set before they are
loaded (onnxruntime's Privacy.md). Import it from here, never directly: models stay where they are.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

__all__ = ["ort"]
