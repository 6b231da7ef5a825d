"""Files with rows in them, of every kind that is read."""

import csv
import json

from small import salt

from nanoos.datasets.export import structure_text
from nanoos.structures import write_structures

NUMBERS = [0.5, 1.5, 2.5]


def cells(n):
    return {"id": f"mp-{n}", "structure": structure_text(salt(n)), "band_gap_eV": NUMBERS[n]}


def write_csv(path, records):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return path


def write_parquet(path, records):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(records), path)
    return path


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_array(path, records):
    path.write_text(json.dumps(records))
    return path


WRITERS = {
    "rows.csv": write_csv,
    "rows.parquet": write_parquet,
    "rows.jsonl": write_lines,
    "rows.json": write_array,
}


def cgcnn_folder(tmp_path):
    folder = tmp_path / "cgcnn"
    folder.mkdir()
    for n in range(3):
        write_structures([salt(n)], folder / f"m{n}.cif")
    (folder / "id_prop.csv").write_text("m0,0.5,-1\nm1,1.5,-2\ngone,1,1\nm2,2.5,-3\n")
    return folder


def frame(n, energy):
    s = salt(n)
    lattice = " ".join(str(x) for x in s.lattice.ravel())
    head = f'2\nLattice="{lattice}" Properties=species:S:1:pos:R:3:forces:R:3 {energy} id=f{n}\n'
    forces = ([0.0, 3.0, 4.0], [0.1, 0.0, 0.0])
    rows = zip(s.species, s.cart_coords.tolist(), forces, strict=True)
    return head + "".join(f"{e} {' '.join(map(str, [*p, *f]))}\n" for e, p, f in rows)
