"""Layouts, placements, blocks, programs: rows of any camera through any block size and number of threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.conductor import Block, Buffers, Exposure, Layout, Program, Stage, Step, StepConfig, Workers, rows_of
from fullwell.conductor.placement import assembled, raw
from fullwell.conductor.store import ArraySource, FrameSource, MemorySink

TURNS = [Orientation(*flags) for flags in itertools.product((False, True), repeat=3)]


def detector(
    turns: tuple[Orientation, ...], heights: tuple[int, ...] | None = None, lead: tuple[int, ...] = ()
) -> Detector:
    """Amplifiers of 2 prescan, 5 + i data and 3 overscan columns, one above the other in the raw image."""
    amps, y_raw, y_out = [], 0, 0
    width = 0
    for i, turn in enumerate(turns):
        rows = heights[i] if heights else 6
        y0 = lead[i] if lead else 0
        shape = (rows + y0 + 1, 10 + i)
        data = Box(2, y0, 5 + i, rows)
        stored, placed = turn.shape(shape), turn.shape(data.shape)
        amps.append(
            Amplifier(
                f"A{i}",
                shape,
                data,
                Box(0, y_raw, stored[1], stored[0]),
                Box(0, y_out, placed[1], placed[0]),
                Box(0, 0, 2, shape[0]),
                Box(7 + i, 0, 3, shape[0]),
                Box(2, rows + y0, 5 + i, 1),
                turn,
                turn,
            )
        )
        y_raw, y_out, width = y_raw + stored[0], y_out + placed[0], max(width, placed[1])
    return Detector("d", 0, tuple(amps))


def expected(det: Detector, image: np.ndarray) -> np.ndarray:
    """Assembly by plain slicing."""
    out = np.zeros(det.box.shape, np.float32)
    for amp in det:
        segment = amp.raw_orientation.undo(image[amp.raw.slices])
        out[amp.trimmed.slices] = amp.orientation.apply(segment[amp.data.slices])
    return out


def run(
    det: Detector, image: np.ndarray, rows: int = 4, threads: int = 1, stages: tuple[Stage, ...] = ()
) -> MemorySink:
    program = Program(stages, Layout(det), rows)
    source, exposure, sink = ArraySource.of_image(image, det), Exposure(det), MemorySink(det)
    sink.image[:] = 0
    program.prepare(source, exposure, {})
    with Workers(threads) as workers:
        program.run(source, sink, exposure, workers)
    return sink


@pytest.mark.parametrize("turn", TURNS)
def test_assembly_in_all_eight_orientations(turn: Orientation) -> None:
    det = detector((turn, Orientation()))
    image = np.random.default_rng(1).integers(0, 60000, det.raw_box.shape).astype(np.uint16)
    assert np.array_equal(run(det, image).image, expected(det, image))


def test_unequal_amplifiers_that_start_in_different_rows() -> None:
    det = detector((Orientation(), Orientation(flip_y=True), Orientation(transpose=True)), (6, 4, 3), (0, 2, 1))
    image = np.random.default_rng(2).integers(0, 60000, det.raw_box.shape).astype(np.int32)
    assert np.array_equal(run(det, image).image, expected(det, image))


def test_block_size_and_threads_change_nothing() -> None:
    det = detector((Orientation(), Orientation(flip_x=True, flip_y=True)), (37, 37))
    image = np.random.default_rng(3).integers(0, 60000, det.raw_box.shape).astype(np.uint16)
    first = run(det, image, 1).image
    for rows, threads in ((5, 1), (32, 1), (64, 2), (3, 4)):
        assert np.array_equal(run(det, image, rows, threads).image, first)


def test_calibrations_come_in_read_out_order() -> None:
    det = detector((Orientation(flip_x=True), Orientation()))
    plane = np.arange(det.box.area, dtype=np.float32).reshape(det.box.shape)
    rows = rows_of(plane, Layout(det))
    first = det.amplifiers[0]
    assert rows[0, 0] == plane[0, first.trimmed.x1 - 1]
    assert rows.shape == (6, 11)


def test_frame_source_is_the_inverse_of_the_sink() -> None:
    det = detector((Orientation(flip_y=True), Orientation(transpose=True, flip_x=True)))
    rng = np.random.default_rng(4)
    image = rng.normal(size=det.box.shape).astype(np.float32)
    for amp in det:
        assert amp.trimmed.area
    covered = np.zeros(det.box.shape, bool)
    for amp in det:
        covered[amp.trimmed.slices] = True
    mask = rng.integers(0, 8, det.box.shape).astype(np.uint32)
    source, sink, exposure = FrameSource(det, image, image**2, mask), MemorySink(det), Exposure(det)
    program = Program([], Layout(det, "data"), 2)
    program.run(source, sink, exposure, Workers(1))
    assert np.array_equal(sink.image[covered], image[covered])
    assert sink.variance is not None and np.array_equal(sink.variance[covered], (image**2)[covered])
    assert np.array_equal(sink.mask[covered], mask[covered])


def test_spans_and_rows_by_hand() -> None:
    det = detector((Orientation(), Orientation()), (6, 6), (0, 1))
    layout = Layout(det)
    start, width = layout.span("serial_overscan")
    assert start.tolist() == [7, 18] and width.tolist() == [3, 3]
    strip = Layout(det, "serial_overscan")
    assert strip.columns == 6 and strip.span("serial_overscan")[0].tolist() == [0, 3]
    assert strip.span("data")[1].tolist() == [0, 0]
    assert layout.data_rows == (1, 7)
    assert layout.rows("parallel_overscan") == (7, 8)


def test_prepare_sees_rows_after_the_steps_before() -> None:
    det = detector((Orientation(),))
    image = np.full(det.raw_box.shape, 10, np.uint16)

    def plus_one(block, given, cfg) -> None:
        block.image += 1

    seen = []

    def look(rows, given, cfg):
        seen.append(rows.read(*rows.layout.rows("parallel_overscan")).image.copy())
        seen.append(rows.read(0, 3, "serial_overscan").image.copy())
        return 5.0

    def minus(block, given, cfg) -> None:
        block.image -= given

    second = Step("second", minus, prepare=look)
    sink = run(det, image, stages=(Stage(Step("first", plus_one), StepConfig()), Stage(second, StepConfig())))
    assert seen[0].shape == (1, 10) and (seen[0] == 11).all()
    assert seen[1].shape == (3, 3) and (seen[1] == 11).all()
    assert (sink.image == 6).all()


def test_untouched_planes_are_zero_whatever_the_buffer_held() -> None:
    det = detector((Orientation(),))
    layout, buffers = Layout(det), Buffers()
    block = Block(Exposure(det), layout, 0, 4, buffers)
    block.start_mask()[:] = 7
    block.start_variance()[:] = 7
    again = Block(Exposure(det), layout, 0, 4, buffers)
    assert not again.start_mask().any() and not again.start_variance().any()


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    det = detector((Orientation(),), (40,))

    def fail(block, given, cfg) -> None:
        raise ValueError("in the block")

    with pytest.raises(ValueError, match="in the block"):
        run(det, np.zeros(det.raw_box.shape, np.uint16), 2, 3, (Stage(Step("bad", fail), StepConfig()),))


def test_placements_agree_with_boxes() -> None:
    det = detector((Orientation(flip_x=True, flip_y=True),))
    amp = det.amplifiers[0]
    assert raw(det).offset[0] == amp.raw.area - 1
    assert assembled(det).row_step[0] == -amp.trimmed.width and assembled(det).col_step[0] == -1
