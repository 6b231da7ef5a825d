"""Whatever comes in, reading gives outcomes and raises nothing."""

import json

import pytest
from crystals import NACL_CIF, NACL_POSCAR, NACL_XSF, NACL_XYZ, rocksalt
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reading import optimade_entry, pymatgen_dict

from nanoos.core.errors import NanoosError
from nanoos.structures import export_bytes, read_structures_from_bytes

SAMPLES = {
    "a.cif": NACL_CIF.encode(),
    "POSCAR": NACL_POSCAR.encode(),
    "a.xyz": (NACL_XYZ * 2).encode(),
    "a.xsf": NACL_XSF.encode(),
    "ours.json": json.dumps(rocksalt().as_dict()).encode(),
    "optimade.json": json.dumps({"data": [optimade_entry()]}).encode(),
    "pymatgen.json": json.dumps(pymatgen_dict()).encode(),
    "a.zip": export_bytes([rocksalt()], "zip").data,
}
PIECES = [b"", b"0", b"-1", b"nan", b"1e400", b"'", b";", b"_", b"loop_", b"null", b"[]", b"{}",
          b"\0", b"\xff", b"\n", b"99999999999999", b"Xx", b"1/0", b"data_"]  # fmt: skip


def check(name: str, data: bytes) -> None:
    count = 0
    for outcome in read_structures_from_bytes(name, data):
        count += 1
        assert (outcome.structure is None) != (outcome.error is None)
        if outcome.error is not None:
            assert isinstance(outcome.error, NanoosError)
            assert outcome.error.message
    assert count


@pytest.mark.parametrize("name", [*SAMPLES, "upload"])
@given(data=st.binary(max_size=300))
@settings(max_examples=25, deadline=None)
def test_random_bytes(name, data):
    check(name, data)


@pytest.mark.parametrize("name", SAMPLES)
@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES)),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_damaged_files(name, edits):
    data = SAMPLES[name]
    for place, removed, piece in edits:
        at = int(place * len(data))
        data = data[:at] + piece + data[at + removed :]
    check(name, data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("name", ["ours.json", "optimade.json", "pymatgen.json"])
@given(key=st.integers(0, 20), value=JSON)
@settings(max_examples=50, deadline=None)
def test_json_with_wrong_parts(name, key, value):
    document = json.loads(SAMPLES[name])
    target = document.get("data", [{}])[0].get("attributes", document)
    if name == "pymatgen.json" and key % 2:
        target = target["sites"][0]
    target[sorted(target)[key % len(target)]] = value
    check("a.json", json.dumps(document).encode())
