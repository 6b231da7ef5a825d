"""MACE: what it lacks is said at once; with its tool, a small model of our own is a potential.

The second part installs MACE (minutes, half a GB) unless ``MACE_TOOL_PYTHON`` names a Python
that has it, and is run by ``make slow``.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from nanoos.core.errors import ConflictError, InvalidInputError, UnavailableError
from nanoos.core.folders import set_data_dir
from nanoos.core.records import LevelOfTheory
from nanoos.engines import get_engine
from nanoos.potentials import (
    check_potential,
    covered_elements,
    get_potential,
    mace,
    potentials_covering,
)
from nanoos.potentials.installed_weights import InstalledWeights, set_weights_folder
from nanoos.potentials.lennard_jones import LennardJones
from nanoos.potentials.mace import MACECard, MACEPotential, convert_model_file
from nanoos.testing import PotentialContract
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite
from nanoos.tools import TOOLS, ToolError, ToolProcess, tool_environments

TRAINER = Path(__file__).parent / "mace_training.py"
PAIRS = Path(__file__).parent / "mace_pairs.py"
ELEMENTS = [8, 11, 12, 14, 17, 26, 30]


def write_weights(folder: Path, settings: dict, card: dict) -> None:
    """A set of weights as far as the main environment reads it: the head of a safetensors file."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "nanoos-mace-1", "settings": json.dumps(settings)}
    header = json.dumps({"__metadata__": metadata}).encode()
    (folder / mace.WEIGHTS_FILE).write_bytes(len(header).to_bytes(8, "little") + header)
    (folder / mace.CARD_FILE).write_text(json.dumps(card))
    write_manifest(folder)


def write_manifest(folder: Path) -> None:
    weights = InstalledWeights(
        name=mace.WEIGHTS,
        family="MACE",
        folder=folder,
        files={
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in (mace.WEIGHTS_FILE, mace.CARD_FILE)
        },
        license="MIT",
        source="made in a test",
        added_at="2026-01-01T00:00:00Z",
    )
    (folder / "manifest.json").write_text(json.dumps(weights.as_dict()))


@pytest.fixture
def weights(tmp_path):
    """The folder of weights, empty."""
    set_weights_folder(tmp_path / "models")
    yield tmp_path / "models" / mace.WEIGHTS
    set_weights_folder(None)


@pytest.fixture
def tool(monkeypatch):
    """A Python that stands for the tool's where only the main side is tested."""
    monkeypatch.setenv("NANO_OS_MACE_PYTHON", sys.executable)


SETTINGS = {"r_max": 4.5, "atomic_numbers": [8, 12], "heads": ["Default"], "dtype": "float64"}
CARD = {"version": "1", "functional": "PBE", "corrections": "none", "head": None}


def test_without_tool_and_weights_it_says_both_commands(weights):
    with pytest.raises(UnavailableError) as caught:
        check_potential("mace")
    assert caught.value.message == "MACE needs the tool MACE (not installed) and weights."
    assert caught.value.hint == (
        "nanoos tools install MACE, then nanoos models add FILE.model --as MACE"
    )
    with pytest.raises(UnavailableError):
        get_potential("MACE")
    assert "MACE" not in potentials_covering({"Mg", "O"})


def test_without_weights_it_says_that_command(weights, tool):
    with pytest.raises(UnavailableError, match=r"^MACE needs weights\.$") as caught:
        check_potential("MACE")
    assert caught.value.hint == "nanoos models add FILE.model --as MACE"


def test_what_the_weights_are_is_read_without_the_tool(weights, tool):
    write_weights(weights, SETTINGS, CARD)
    check_potential("MACE")
    potential = MACEPotential()
    assert potential.elements == {"O", "Mg"}
    assert potential.version == "1"
    assert potential.level_of_theory == LevelOfTheory(
        functional="PBE", corrections="none", reference="none"
    )
    assert potential.software == {"mace-torch": "the user's own"}
    assert len(potential.weights_sha256) == 64
    with pytest.raises(InvalidInputError):
        MACEPotential(device="abacus")


@pytest.mark.parametrize("engine", ["MLIP", "LAMMPS"])
def test_other_weights_under_the_name_are_other_work(weights, tool, engine):
    engine, crystal = get_engine(engine)(), rocksalt()

    def fingerprint(potential):
        return engine.fingerprint(crystal, engine.validate_parameters({"potential": potential}))

    write_weights(weights, SETTINGS, CARD)
    first = fingerprint("MACE")
    assert fingerprint("mace") == first != {}
    write_weights(weights, SETTINGS | {"r_max": 5.0}, CARD)
    second = fingerprint("MACE")
    write_weights(weights, SETTINGS | {"r_max": 5.0}, CARD | {"functional": "r2SCAN"})
    assert len({*first.values(), *second.values(), *fingerprint("MACE").values()}) == 3
    assert fingerprint("CHGNet") == {}, "the name says which weights they are"


def test_weights_that_were_replaced_are_used(weights, tool):
    write_weights(weights, SETTINGS, CARD)
    first = get_potential("MACE")
    assert get_potential("mace") is first
    write_weights(weights, SETTINGS | {"atomic_numbers": [26]}, CARD | {"version": "2"})
    second = get_potential("MACE")
    assert (second.version, second.elements) == ("2", {"Fe"})
    assert second.weights_sha256 != first.weights_sha256
    assert covered_elements("MACE") == {"Fe"}


@pytest.mark.parametrize(
    ("heads", "chosen", "answers"),
    [(["a"], None, "a"), (["a", "default"], None, "default"), (["a", "b"], "b", "b")],
    ids=["only", "default", "chosen"],
)
def test_read_out(heads, chosen, answers):
    assert mace._head({"heads": heads}, chosen) == answers


@pytest.mark.parametrize("chosen", [None, "c"], ids=str)
def test_read_out_that_is_unclear(chosen):
    with pytest.raises(InvalidInputError, match="a, b"):
        mace._head({"heads": ["a", "b"]}, chosen)


def test_crystals_arrive_in_the_process_as_they_are(weights, tool, monkeypatch, tmp_path):
    """Energies, forces and stresses of a pair potential, computed from what was sent."""
    write_weights(weights, SETTINGS | {"atomic_numbers": [8, 12, 30]}, CARD)
    crystals = [rocksalt(4.3), perturbed(wurtzite()), perturbed(rocksalt(4.1))]
    potential = MACEPotential()
    with ToolProcess("MACE", Path(sys.executable), PAIRS, tmp_path / "log") as process:
        monkeypatch.setattr(potential, "_process", process)
        found = potential.compute(crystals, batch_size=2)
        assert [result.forces.shape[0] for result in found] == [s.n_sites for s in crystals]
        np.testing.assert_allclose(
            potential.energies(crystals), [result.energy_ev for result in found]
        )
        assert potential.compute(crystals[:1], stress=False)[0].stress is None
        step = 1e-4
        for crystal, result in zip(crystals, found, strict=True):
            grown = [crystal.scaled_to_volume(crystal.volume * (1 + s)) for s in (-step, step)]
            low, high = potential.energies(grown)
            pressure = (high - low) / (2 * step * crystal.volume)
            assert np.trace(result.stress) / 3 == pytest.approx(pressure, rel=1e-4)
            assert result.energy_ev_per_atom == pytest.approx(result.energy_ev / crystal.n_sites)
            np.testing.assert_allclose(result.forces.sum(axis=0), 0, atol=1e-9)
        assert np.abs(found[1].forces).max() > 0.1


# -- with MACE itself --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mace_tool(tmp_path_factory):
    """A data folder whose tool MACE works."""
    folder = tmp_path_factory.mktemp("mace")
    with pytest.MonkeyPatch.context() as patch:
        set_data_dir(folder)
        if python := os.environ.get("MACE_TOOL_PYTHON"):
            patch.setenv("NANO_OS_MACE_PYTHON", python)
        else:
            try:
                tool_environments().install("MACE")
            except UnavailableError as error:
                pytest.skip(error.message)
        yield tool_environments()
        set_data_dir(folder)
        mace.tool_process("MACE").close()
        set_data_dir(None)


def train(environments, target: Path, *, dtype: str, heads: list[str], steps: int) -> None:
    """A model file as MACE's training pickles it, fitted to Lennard-Jones for a moment."""
    crystals = [
        perturbed(s.scaled_to_volume(f * s.volume))
        for s in (rocksalt(), rocksalt(5.0, "Na", "Cl"), wurtzite())
        for f in (0.9, 1.0, 1.25)
    ]
    labels = LennardJones().compute(crystals)
    arrays = mace._arrays(crystals, 5.0)
    arrays["energies"] = np.array([label.energy_ev for label in labels])
    arrays["forces"] = np.concatenate([label.forces for label in labels])
    fields = {
        "program": str(TOOLS.get("MACE").program),
        "dtype": dtype,
        "heads": heads,
        "atomic_numbers": ELEMENTS,
        "neighbors": len(arrays["centers"]) / len(arrays["numbers"]),
        "steps": steps,
        "target": str(target),
    }
    python = environments.python("MACE")
    with ToolProcess("trainer", python, TRAINER, environments.root / "trainer.log") as process:
        process.request("train", fields, arrays)


@pytest.fixture(scope="module")
def mace_weights(mace_tool, tmp_path_factory):
    """Weights of a small model of our own."""
    folder = tmp_path_factory.mktemp("models")
    train(mace_tool, folder / "small.model", dtype="float64", heads=["Default"], steps=30)
    (folder / mace.WEIGHTS).mkdir()
    card = MACECard(version="small", functional="Lennard-Jones", corrections="none")
    convert_model_file(folder / "small.model", folder / mace.WEIGHTS, card)
    write_manifest(folder / mace.WEIGHTS)
    set_weights_folder(folder)
    yield folder
    set_weights_folder(None)


@pytest.mark.slow
@pytest.mark.usefixtures("mace_weights")
class TestMACE(PotentialContract):
    name = "MACE"
    energy_tolerance_ev_per_atom = 1e-8

    @pytest.fixture(autouse=True)
    def _tool(self, mace_tool, monkeypatch):
        """What every test's environment is cleared of."""
        set_data_dir(mace_tool.root.parent)
        if python := os.environ.get("MACE_TOOL_PYTHON"):
            monkeypatch.setenv("NANO_OS_MACE_PYTHON", python)

    def test_numbers_are_those_of_the_library(self, mace_weights, mace_tool, tmp_path):
        """MACE's own ASE calculator on the file before conversion."""
        program = tmp_path / "program.py"
        program.write_text(
            "import warnings\n"
            "warnings.simplefilter('ignore')\n"
            "from mace.calculators import MACECalculator\n"
            "from ase import Atoms\n"
            "def energy(fields, arrays, report):\n"
            "    atoms = Atoms(numbers=arrays['numbers'], positions=arrays['positions'],\n"
            "                  cell=arrays['cell'], pbc=True)\n"
            "    atoms.calc = MACECalculator(fields['model'], device='cpu',\n"
            "                                default_dtype='float64')\n"
            "    return {'energy': float(atoms.get_potential_energy())}, {\n"
            "        'forces': atoms.get_forces(), 'stress': atoms.get_stress(voigt=False)}\n"
            "REQUESTS = {'energy': energy}\n"
        )
        crystal = perturbed(wurtzite())
        arrays = {
            "numbers": np.array(crystal.atomic_numbers),
            "positions": crystal.cart_coords,
            "cell": crystal.lattice,
        }
        python = mace_tool.python("MACE")
        with ToolProcess("library", python, program, tmp_path / "log") as process:
            theirs = process.request("energy", {"model": str(mace_weights / "small.model")}, arrays)
        (ours,) = get_potential("MACE").compute([crystal])
        assert ours.energy_ev == pytest.approx(theirs.fields["energy"], abs=1e-8)
        np.testing.assert_allclose(ours.forces, theirs.arrays["forces"], atol=1e-8)
        np.testing.assert_allclose(ours.stress, theirs.arrays["stress"], atol=1e-8)

    def test_relaxation(self, potential):
        from nanoos.potentials import relax

        relaxed = relax(perturbed(rocksalt(4.4)), potential, fmax=0.05, max_steps=100)
        assert relaxed.steps[-1].max_force_ev_a < 0.05
        assert relaxed.steps[-1].energy_ev < relaxed.steps[0].energy_ev

    def test_covers_what_its_weights_say(self):
        assert covered_elements("mace") == {"O", "Na", "Mg", "Si", "Cl", "Fe", "Zn"}
        assert "MACE" in potentials_covering({"Mg", "O"})

    def test_added_as_a_set_of_weights(self, mace_weights, tmp_path):
        from nanoos.models.mace_weights import add_mace_model
        from nanoos.models.store import remove

        file, card = mace_weights / "small.model", MACECard(version="small", functional="LJ")
        with pytest.raises(ConflictError, match="already"):
            add_mace_model(file, card)
        set_weights_folder(tmp_path / "models")
        try:
            added = add_mace_model(file, card, license_="MIT")
            assert added.family == "MACE"
            assert sorted(added.files) == [mace.CARD_FILE, mace.WEIGHTS_FILE]
            assert "small.model, SHA-256" in added.source
            assert MACEPotential().level_of_theory.functional == "LJ"
            remove("mace")
            with pytest.raises(UnavailableError):
                check_potential("MACE")
        finally:
            set_weights_folder(mace_weights)

    def test_single_precision_and_several_read_outs(self, mace_tool, tmp_path):
        file = tmp_path / "two.model"
        train(mace_tool, file, dtype="float32", heads=["first", "second"], steps=1)
        folder = tmp_path / "out"
        folder.mkdir()
        with pytest.raises(InvalidInputError, match="first, second"):
            convert_model_file(file, folder, MACECard(version="1"))
        assert not list(folder.iterdir())
        files = convert_model_file(file, folder, MACECard(version="1", head="second"))
        assert sorted(files) == [mace.CARD_FILE, mace.WEIGHTS_FILE]

    @pytest.mark.parametrize("data", [b"not a model", b""], ids=["text", "empty"])
    def test_what_is_no_model_is_refused(self, tmp_path, data):
        file = tmp_path / "x.model"
        file.write_bytes(data)
        with pytest.raises(ToolError, match="MACE: "):
            convert_model_file(file, tmp_path, MACECard(version="1"))
        with pytest.raises(InvalidInputError, match="There is no file"):
            convert_model_file(tmp_path / "absent.model", tmp_path, MACECard(version="1"))
