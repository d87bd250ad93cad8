"""The chain of separate steps against its fused twin: does the conductor's design stand?"""

from __future__ import annotations

import sys
import time

import numpy as np

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.conductor import Exposure, Layout, Program, Stage, Workers
from fullwell.conductor.store import ArraySource, MemorySink
from fullwell.conductor.placement import Placement
from fullwell.kernels import transfer
from fullwell.products import Linearity
from fullwell.effects import assembly, bias, dark, defects, flat, gain, linearity, overscan_serial, saturation, variance
import fused

NY, NX, H, W, PRE = 2048, 576, 2000, 509, 3


def detector() -> Detector:
    amps = []
    for i in range(16):
        top = i < 8
        col = i if top else 15 - i
        turn = Orientation(flip_x=top, flip_y=top)
        amps.append(
            Amplifier(
                f"C{i:02d}",
                (NY, NX),
                Box(PRE, 0, W, H),
                Box(NX * col, NY * top, NX, NY),
                Box(W * col, H * top, W, H),
                Box(0, 0, PRE, NY),
                Box(PRE + W, 0, NX - PRE - W, NY),
                Box(PRE, H, W, NY - H),
                turn,
                turn,
                gain=1.5,
                read_noise=6.0,
                saturation=60000.0,
            )
        )
    return Detector("bench", 0, tuple(amps))


TWO = "--two" in sys.argv


def main() -> None:
    rng = np.random.default_rng(1)
    det = detector()
    raw = rng.normal(2000, 30, (16, NY, NX)).astype(np.uint16)
    stored = (raw ^ 0x8000).astype(">u2").view(np.uint16)
    data = Layout(det, "data")
    C = data.columns
    b = rng.normal(0, 1, (H, C)).astype(np.float32)
    d = rng.normal(0.1, 0.01, (H, C)).astype(np.float32)
    f = (1 / rng.normal(1, 0.01, (H, C))).astype(np.float32)
    bad = (rng.random((H, C)) < 1e-4).astype(np.uint8)
    product = Linearity.same(det.names, "Polynomial", [1e-7, 1e-13])
    size = NY * NX
    place = Placement((NY * 16, NX), np.arange(16) * size, np.full(16, NX), np.ones(16, np.int64), np.full(16, NY))
    source = ArraySource(stored.reshape(-1), place, transfer.SWAP16U)
    exposure = Exposure(det, gain=det.values("gain"), read_noise=det.values("read_noise"), dark_time=30.0)
    g = exposure.gain.astype(np.float32)
    stages = [
        Stage(overscan_serial.remove_block, overscan_serial.SerialOverscanConfig(method="mean_per_row", clip=0)),
        Stage(saturation.flag_block, saturation.SaturationConfig()),
        Stage(gain.remove_block, gain.GainConfig()),
        Stage(linearity.remove_block, linearity.LinearityConfig()),
        Stage(assembly.remove_block, None),
        Stage(bias.remove_block, bias.BiasConfig()),
        Stage(dark.remove_block, dark.DarkConfig()),
        Stage(defects.flag_block, defects.DefectsConfig()),
        Stage(variance.flag_block, variance.VarianceConfig()),
        Stage(flat.remove_block, flat.FlatConfig()),
    ]
    digested = {
        "gain": g,
        "saturation": None,
        "linearity": linearity.digest(product, Layout(det), exposure),
        "bias": bias.BiasRows(b, None, None),
        "dark": dark.DarkRows(d, None, None),
        "defects": bad,
        "flat": flat.FlatRows(f, flat.EMPTY, None),
    }
    sink = MemorySink(det)
    out = [np.zeros(det.box.shape, t) for t in (np.float32, np.float32, np.uint32)]
    noise, sat = exposure.read_noise.astype(np.float32), det.values("saturation").astype(np.float32)
    args = (
        stored,
        PRE,
        W,
        PRE + W + 3,
        NX - PRE - W - 6,
        b,
        d,
        f,
        bad,
        (1e-7 / exposure.gain).astype(np.float32),
        (1e-13 / exposure.gain**2).astype(np.float32),
        g,
        noise,
        sat,
        np.float32(30),
        0,
        H,
        det.box.shape,
        *out,
    )
    one, two = Workers(1), Workers(2)
    src, dst = np.ones(H * C, np.float32), np.ones(H * C, np.float32)
    times: dict[str, list[float]] = {}

    def clock(name, work):
        t, c = time.perf_counter(), time.process_time()
        work()
        times.setdefault(name, []).append(time.process_time() - c)
        times.setdefault(name + " wall", []).append(time.perf_counter() - t)

    programs = {}
    for rows in [int(r) for r in sys.argv[1:] if r.isdigit()] or [8, 16, 32, 64]:
        programs[rows] = Program([Stage(s.step, s.config) for s in stages], Layout(det), rows)
        programs[rows].prepare(source, exposure, digested)
    for i in range(12):
        clock("copy", lambda: np.copyto(dst, src))
        clock("twin", lambda: fused.plain(*args))
        for rows, p in programs.items():
            clock(f"chain {rows}", lambda: p.run(source, sink, exposure, one))
            clock(f"chain2 {rows}", lambda: p.run(source, sink, exposure, two)) if TWO else None
        if i < 2:
            times.clear()
    for a, o in zip((sink.image, sink.variance, sink.mask), out):
        print("max difference", np.max(np.abs(a.astype(float) - o)))
    med = {k: float(np.median(v)) for k, v in times.items()}
    for k, v in med.items():
        print(f"{k:18s} {v * 1e3:7.1f} ms  {v / med['twin']:.2f}")
    bw = src.nbytes * 2 / med["copy"]
    print("twin bandwidth fraction", (H * C * 27) / med["twin"] / bw)


main()
