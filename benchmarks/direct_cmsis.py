"""What the same models cost as direct CMSIS-NN calls: the figures `kernels.py` compares with.

Measured with gcc 12.2, CMSIS-NN 99f736a, ``-DNDEBUG``, error strings stripped; instructions with
``-O2``, code with ``-Os``, which is smaller. Hand-written calls of the public API without an
interpreter, instructions of one inference in QEMU. They are constants, as Arm's sources are no part
of this project; where TINYMLAAS_CMSIS_NN_ROOT names them, rows ``cmsis-nn/arm`` stand beside.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "direct calls of CMSIS-NN 99f736a, gcc 12.2, -O2 -DNDEBUG"


@dataclass(frozen=True)
class Direct:
    """One model's direct calls on one core: million instructions, and `goal`, the share of them
    that portable kernels may take.
    """

    minstr: float
    goal: float


@dataclass(frozen=True)
class Size:
    """Flash and RAM of direct calls on the M4 in bytes: code with -Os, arena, and `data`, which is
    weights, biases and multipliers.
    """

    code: int
    arena: int
    data: int


# By model and core. Goals: all of it on the M4, 0.8 on the M0+, 1.25 on the M55; vww, of whose
# channels a third are dead, 14 million on the M4 and 0.6 elsewhere.
DIRECT = {
    "ad_int8": {"m4": Direct(0.580, 1), "m0+": Direct(1.76, 0.8), "m55": Direct(0.147, 1.25)},
    "kws_int8": {"m4": Direct(7.69, 1), "m0+": Direct(29.0, 0.8), "m55": Direct(1.81, 1.25)},
    "ic_int8": {"m4": Direct(29.9, 1), "m0+": Direct(97.5, 0.8), "m55": Direct(4.91, 1.25)},
    "vww_int8": {"m4": Direct(24.1, 0.58), "m0+": Direct(86.9, 0.6), "m55": Direct(6.55, 0.6)},
}
# vww's data without its dead channels: 60 kB is the goal, direct calls have 240,952.
SIZES = {
    "ad_int8": Size(3_600, 768, 270_880),
    "kws_int8": Size(15_200, 16_000, 28_976),
    "ic_int8": Size(15_600, 49_728, 81_432),
    "vww_int8": Size(18_700, 64_512, 60_000),
}
