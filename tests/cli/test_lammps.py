"""LAMMPS through the job machinery, from the command line."""

import numpy as np
import pytest

from nanoos.structures import Structure, write_structures


@pytest.fixture
def copper(tmp_path):
    lattice = 0.5 * 3.615 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    path = tmp_path / "Cu.cif"
    write_structures(
        [Structure(lattice=lattice, species=("Cu",), frac_coords=np.zeros((1, 3)))], path
    )
    return path


def test_a_run_is_a_job_with_its_files(lab, copper):
    """The engine's other name and its default workflow, followed to the end."""
    ran = lab(
        *("simulate", copper, "--engine", "LAMMPS_MD", "--wait", "--json"),
        *("--set", "potential=Cu_mishin1.eam.alloy", "--set", "num_steps=200"),
        *("--set", "repeats=[3,3,3]"),
    )
    assert ran.code == 0, ran.err
    simulation = ran.document
    assert simulation["engine"] == "LAMMPS"
    assert simulation["workflow"] == "MD_NVT_LAMMPS"
    assert simulation["values"]["n_atoms"] == 27
    assert simulation["record"]["provenance"]["software"]["lammps"].startswith("22 Jul 2025")
    files = lab("jobs", "show", simulation["job_id"], "--json").document["files"]
    names = {file["name"] for file in files}
    assert {
        "input/in.lammps",
        "input/structure.data",
        "input/Cu_mishin1.eam.alloy",
        "output/thermo.csv",
        "output/rdf.svg",
        "output/trajectory.extxyz",
        "output/result.json",
    } <= names


def test_an_edited_potential_is_other_work(lab, settings, tmp_path):
    lattice = 0.5 * 5.43 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    silicon = Structure(
        lattice=lattice, species=("Si", "Si"), frac_coords=np.array([[0.0] * 3, [0.25] * 3])
    )
    write_structures([silicon], tmp_path / "Si.cif")
    file = settings.data_dir / "lammps_potentials" / "my.sw"
    file.parent.mkdir()
    command = ("simulate", tmp_path / "Si.cif", "-e", "LAMMPS", "-w", "SINGLE_POINT_LAMMPS")
    command += ("--set", "potential=my.sw", "--wait", "--json")
    entry = (
        "Si Si Si {epsilon} 2.0951 1.80 21.0 1.20 -0.333333333333 7.049556277 0.6022245584 4 0 0\n"
    )

    def simulated(epsilon):
        file.write_text(entry.format(epsilon=epsilon))
        ran = lab(*command)
        assert ran.code == 0, ran.err
        return ran.document

    first, second, again = simulated("2.1683"), simulated("2.3851"), simulated("2.1683")
    assert second["energy_ev"] == pytest.approx(first["energy_ev"] * 2.3851 / 2.1683, rel=1e-6)
    weights = [one["record"]["provenance"]["weights_sha256"] for one in (first, second)]
    assert weights[0] != weights[1]
    assert (again["id"], again["energy_ev"]) == (first["id"], first["energy_ev"])


def test_what_cannot_run_is_refused_before_it_is_queued(lab, copper):
    ran = lab("simulate", copper, "--engine", "LAMMPS", "--set", "potential=Si.sw")
    assert ran.code == 2
    assert "does not cover Cu" in ran.err
    assert "Cu_mishin1.eam.alloy" in ran.err
    assert lab("jobs", "list", "--json").document["total"] == 0
