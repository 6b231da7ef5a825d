"""Reading dumps while they are written."""

import io

import numpy as np

from nanoos.engines.lammps.dumps import FrameStream, _frame

TEXT = """ITEM: TIMESTEP
20
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS xy xz yz pp pp pp
-1.0 14.0 3.0
0.0 9.0 -1.0
2.0 10.0 0.5
ITEM: ATOMS id xu yu zu
1 0.5 1.0 2.5
2 1.5 2.0 3.5
"""


class Growing(io.BytesIO):
    """The file ends at one line for a moment, and has grown when the next is read."""

    def __init__(self, data, pause_at):
        super().__init__(data)
        self.lines, self.pause_at = 0, pause_at

    def readline(self, *args):
        self.lines += 1
        return b"" if self.lines == self.pause_at else super().readline(*args)


def test_a_file_that_grows_between_two_lines_gives_no_half_frame():
    n_lines = TEXT.count("\n")
    for pause_at in range(1, n_lines + 1):
        assert _frame(Growing((TEXT * 2).encode(), pause_at)) is None
    assert _frame(Growing(TEXT.encode(), n_lines + 1)).step == 20


def test_frames_come_once_each_however_the_file_is_cut(tmp_path):
    file = tmp_path / "dump"
    stream = FrameStream(file)
    assert list(stream.more()) == []
    data = (TEXT + TEXT.replace("\n20\n", "\n30\n")).encode()
    seen = []
    for end in range(0, len(data) + 1, 7):
        file.write_bytes(data[:end])
        seen += [frame.step for frame in stream.more()]
    file.write_bytes(data)
    seen += [frame.step for frame in stream.more()]
    assert seen == [20, 30]


def test_the_box_is_that_inside_the_bounds(tmp_path):
    file = tmp_path / "dump"
    file.write_text(TEXT)
    (frame,) = FrameStream(file).more()
    np.testing.assert_allclose(frame.lattice, [[11, 0, 0], [3, 8.5, 0], [-1, 0.5, 8]])
    np.testing.assert_allclose(frame.origin, [0, 0, 2])
    np.testing.assert_allclose(frame.positions[0], [0.5, 1.0, 0.5])
