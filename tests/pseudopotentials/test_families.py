"""Families: installed whole, verified, looked up, and hostile archives refused."""

import hashlib
import io
import json
import tarfile
import zipfile

import pytest

from nanoos.core.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from nanoos.pseudopotentials import (
    DEFAULT_FAMILY,
    KNOWN_FAMILIES,
    Cutoffs,
    Label,
    archive,
    families,
    get_family,
    install_family,
    known,
    pseudo_folder,
    remove_family,
    set_pseudo_folder,
)
from nanoos.pseudopotentials.upf import read_upf_header

ARCHIVE = "pseudodojo_pbe_sr_v0.4.1_standard.tar.xz"


def upf(element="Si", z=4.0, functional="PBE", extra="") -> bytes:
    return (
        '<UPF version="2.0.1">\n<PP_INFO>\nmade in a test\n</PP_INFO>\n<PP_HEADER\n'
        f'element="{element}"\npseudo_type="NC"\nrelativistic="scalar"\nis_ultrasoft="F"\n'
        f'is_paw="F"\nhas_so="F"\nfunctional="{functional}"\nz_valence="  {z:.2f}"\n'
        f'rho_cutoff="   1.50900000000E+01"\n{extra}/>\n</UPF>\n'
    ).encode()


def tar_of(path, files: dict[str, bytes], links: dict[str, str] | None = None):
    mode = "w:xz" if path.suffix == ".xz" else "w:gz"
    with tarfile.open(path, mode) as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            out.addfile(info)
    return path


@pytest.fixture(autouse=True)
def place(tmp_path):
    set_pseudo_folder(tmp_path / "pseudos")
    yield tmp_path / "pseudos"
    set_pseudo_folder(None)


@pytest.fixture
def small(tmp_path):
    """Two elements with PseudoDojo's metadata."""
    djson = {
        "pseudos_metadata": {
            "Si": {"hints": {"low": {"ecut": 14}, "normal": {"ecut": 18}, "high": {"ecut": 24}}},
            "O": {"hints": {"low": {"ecut": 36}, "normal": {"ecut": 42}, "high": {"ecut": 48}}},
        }
    }
    files = {
        "set/Si.upf": upf(),
        "set/O.upf": upf("O", 6.0),
        "set/standard.djson": json.dumps(djson).encode(),
    }
    return tar_of(tmp_path / "small.tar.xz", files)


def test_the_real_archive_is_recognised_and_verified(shared):
    archive_file = shared / "pseudos" / ARCHIVE
    if not archive_file.exists():
        pytest.skip(f"{archive_file} is not there")
    seen = []
    family = install_family(archive_file, progress=lambda f, m: seen.append((f, m)))
    assert family.name == DEFAULT_FAMILY
    assert family.info.verified
    assert family.info.license == "CC-BY-4.0"
    assert family.info.functional == "PBE"
    assert family.info.relativistic == "scalar"
    assert "van Setten" in family.info.citation
    assert len(family.elements) == 72
    assert family.pseudos["Fe"].z_valence == 16
    assert family.pseudos["Si"].kind == "NC"
    # 18 Hartree
    assert family.cutoffs(["Si"]) == Cutoffs(wfc_ry=36.0, rho_ry=144.0)
    assert family.cutoffs(["Si", "O"], "high") == Cutoffs(wfc_ry=96.0, rho_ry=384.0)
    data = family.verified_bytes("Si")
    assert hashlib.sha256(data).hexdigest() == family.pseudos["Si"].sha256
    assert seen
    assert install_family(archive_file) == family, "twice is once"


def test_cutoffs_are_converted_from_hartree_and_the_largest_counts(small):
    family = install_family(small, label=Label(name="mine", license="MIT"))
    assert family.cutoffs(["Si"], "low") == Cutoffs(wfc_ry=28.0, rho_ry=112.0)
    assert family.cutoffs(["Si", "O"]) == Cutoffs(wfc_ry=84.0, rho_ry=336.0)
    assert not family.info.verified
    assert family.info.license == "MIT"
    assert family.info.source == "small.tar.xz"


def test_a_missing_element_names_the_family_and_what_it_has(small):
    family = install_family(small, label=Label(name="mine"))
    with pytest.raises(InvalidInputError, match="mine has no Bk, Fe") as caught:
        family.check(["Si", "Fe", "Bk"])
    assert caught.value.error_code == "missing_pseudopotential"
    assert "2 elements: O, Si" in str(caught.value.hint)


def test_lookup_by_name(small):
    install_family(small, label=Label(name="Mine"))
    assert get_family("mine").name == "Mine"
    assert [family.name for family in families()] == ["Mine"]
    with pytest.raises(UnavailableError) as caught:
        get_family(DEFAULT_FAMILY.lower())
    assert caught.value.error_code == "family_missing"
    assert f"nanoos pseudos install {DEFAULT_FAMILY}" in str(caught.value.hint)
    with pytest.raises(NotFoundError, match="nothing"):
        get_family("nothing")
    assert remove_family("MINE").name == "Mine"
    assert families() == []


def test_another_family_of_the_same_name_is_refused(small, tmp_path):
    install_family(small, label=Label(name="mine"))
    other = tar_of(tmp_path / "other.tar.gz", {"Si.upf": upf(extra='comment="x"\n')})
    with pytest.raises(ConflictError) as caught:
        install_family(other, label=Label(name="MINE"))
    assert caught.value.error_code == "family_exists"
    assert get_family("mine").elements == ("O", "Si")


def test_a_name_stands_for_certain_files(tmp_path):
    forged = tar_of(tmp_path / "nc-sr-04_pbe_standard_upf.tgz", {"Si.upf": upf()})
    with pytest.raises(InvalidInputError) as caught:
        install_family(forged)
    assert caught.value.error_code == "hash_mismatch"
    assert families() == []


@pytest.mark.parametrize("good", [True, False], ids=["as published", "changed"])
def test_sssp_metadata_choose_and_verify(tmp_path, good):
    silicon = upf()
    metadata = {
        "Si": {
            "filename": "Si.pbe-n-1.0.0.UPF",
            "md5": hashlib.md5(silicon if good else b"").hexdigest(),
            "cutoff_wfc": 30.0,
            "cutoff_rho": 240.0,
        }
    }
    files = {"./Si.pbe-n-1.0.0.UPF": silicon, "./Si.other.UPF": upf(extra='comment="old"\n')}
    packed = tar_of(tmp_path / "SSSP_1.3.0_PBE_efficiency.tar.gz", files)
    cutoffs = tmp_path / "SSSP_1.3.0_PBE_efficiency.json"
    cutoffs.write_text(json.dumps(metadata))
    if not good:
        with pytest.raises(InvalidInputError) as caught:
            install_family(packed, label=Label(metadata=cutoffs))
        assert caught.value.error_code == "hash_mismatch"
        return
    family = install_family(packed, label=Label(metadata=cutoffs))
    assert family.name == "SSSP-1.3.0-PBE-efficiency"
    assert family.info.verified
    assert family.pseudos["Si"].file == "Si.pbe-n-1.0.0.UPF"
    assert family.cutoffs(["Si"]) == Cutoffs(wfc_ry=30.0, rho_ry=240.0)


def test_several_files_for_an_element_need_a_word(tmp_path):
    packed = tar_of(
        tmp_path / "two.tar.gz", {"Si.a.upf": upf(), "Si.b.upf": upf(extra='comment="b"\n')}
    )
    with pytest.raises(InvalidInputError, match="several files for Si"):
        install_family(packed, label=Label(name="two"))


def test_functionals_are_not_mixed(tmp_path):
    packed = tar_of(
        tmp_path / "mixed.tar.gz", {"Si.upf": upf(), "O.upf": upf("O", 6.0, functional="PZ")}
    )
    with pytest.raises(InvalidInputError, match="functional LDA, PBE"):
        install_family(packed, label=Label(name="mixed"))


def test_an_unknown_archive_needs_a_name(small):
    with pytest.raises(InvalidInputError) as caught:
        install_family(small)
    assert caught.value.error_code == "unnamed_family"
    with pytest.raises(InvalidInputError, match="cannot be the name"):
        install_family(small, label=Label(name="../up"))


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"../../etc/Si.upf": upf()}, {}),
        ({"/abs/Si.upf": upf()}, {}),
        ({"Si.upf": upf()}, {"O.upf": "/etc/passwd"}),
        ({"a/../../Si.upf": upf()}, {}),
    ],
    ids=["parent", "absolute", "link", "hidden parent"],
)
def test_hostile_archives_are_refused(tmp_path, place, files, links):
    packed = tar_of(tmp_path / "hostile.tar.gz", files, links)
    with pytest.raises(InvalidInputError) as caught:
        install_family(packed, label=Label(name="hostile"))
    assert caught.value.error_code == "hostile_archive"
    assert not place.exists() or not list(place.iterdir())


def test_cutoffs_can_be_said_later(tmp_path, small):
    packed = tar_of(tmp_path / "bare.tar.gz", {"Si.upf": upf()})
    cutoffs = tmp_path / "cutoffs.json"
    cutoffs.write_text(
        json.dumps(
            {
                "Si": {
                    "filename": "Si.upf",
                    "md5": hashlib.md5(upf()).hexdigest(),
                    "cutoff_wfc": 30.0,
                    "cutoff_rho": 240.0,
                }
            }
        )
    )
    bare = install_family(packed, label=Label(name="bare"))
    assert bare.cutoffs(["Si"]) is None
    again = install_family(
        packed, label=Label(name="bare", metadata=cutoffs, license="MIT", citation="me")
    )
    found = get_family("bare")
    assert found.cutoffs(["Si"]) == again.cutoffs(["Si"]) == Cutoffs(wfc_ry=30.0, rho_ry=240.0)
    assert (found.info.license, found.info.citation) == ("MIT", "me")
    kept = install_family(packed, label=Label(name="bare"))
    assert kept.as_dict() == found.as_dict()
    assert sorted(path.name for path in found.folder.iterdir()) == ["Si.upf", "family.json"]


def test_a_zip_with_a_password_is_refused(tmp_path):
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("Si.upf", upf())
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1  # the flag of encryption
    path.write_bytes(bytes(data))
    with pytest.raises(InvalidInputError) as caught:
        install_family(path, label=Label(name="locked"))
    assert caught.value.error_code == "damaged_archive"


def test_a_link_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "links.zip"
    with zipfile.ZipFile(path, "w") as out:
        info = zipfile.ZipInfo("Si.upf")
        info.external_attr = 0o120777 << 16
        out.writestr(info, "/etc/passwd")
    with pytest.raises(InvalidInputError) as caught:
        install_family(path, label=Label(name="links"))
    assert caught.value.error_code == "hostile_archive"


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST_FILE", 1 << 16)
    packed = tar_of(tmp_path / "bomb.tar.xz", {"Si.upf": upf() + b" " * (1 << 17)})
    with pytest.raises(TooLargeError):
        install_family(packed, label=Label(name="bomb"))
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    many = tar_of(tmp_path / "many.tar.gz", {f"x{i}.txt": b"" for i in range(5)})
    with pytest.raises(TooLargeError):
        install_family(many, label=Label(name="many"))


@pytest.mark.parametrize("share", [0.5, 0.2], ids=["half", "less"])
def test_a_damaged_archive_leaves_nothing(small, place, tmp_path, share):
    broken = tmp_path / "broken.tar.xz"
    broken.write_bytes(small.read_bytes()[: int(share * small.stat().st_size)])
    with pytest.raises(InvalidInputError) as caught:
        install_family(broken, label=Label(name="broken"))
    assert caught.value.error_code in {"damaged_archive", "invalid_upf", "unnamed_family"}
    assert families() == []


def test_a_killed_installation_is_no_family(small, place):
    left = place / ".adding-999999999-ab"
    left.mkdir(parents=True)
    (left / "Si.upf").write_bytes(upf())
    (place / "half").mkdir()
    (place / "half" / "Si.upf").write_bytes(upf())
    assert families() == []
    install_family(small, label=Label(name="mine"))
    assert not left.exists()


def test_a_changed_file_is_not_used(small):
    family = install_family(small, label=Label(name="mine"))
    path = family.folder / family.pseudos["Si"].file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UnavailableError) as caught:
        family.verified_bytes("Si")
    assert caught.value.error_code == "pseudopotential_changed"
    path.unlink()
    with pytest.raises(UnavailableError):
        family.verified_bytes("Si")


def test_no_network_is_said_with_what_to_do(monkeypatch):
    from nanoos.pseudopotentials import installing

    nowhere = known.KnownFamily(
        name="Nowhere",
        version="1",
        functional="PBE",
        relativistic="scalar",
        license="MIT",
        citation="none",
        url="http://127.0.0.1:9/none.tgz",
        metadata_url=None,
        stem="none",
    )
    monkeypatch.setattr(installing, "KNOWN_FAMILIES", {"Nowhere": nowhere})
    with pytest.raises(UnavailableError) as caught:
        install_family("nowhere")
    assert caught.value.error_code == "no_network"
    assert "nanoos pseudos install FILE" in str(caught.value.hint)
    with pytest.raises(NotFoundError):
        install_family("somewhere")


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"nothing", "no PP_HEADER"),
        (upf("Xx"), "does not exist"),
        (upf("Si", 40.0), "40 electrons"),
        (b'<PP_HEADER element="Si" />', "cannot be read"),
    ],
    ids=["text", "element", "valence", "incomplete"],
)
def test_what_is_no_upf_is_refused(data, word):
    with pytest.raises(InvalidInputError, match=word):
        read_upf_header(data, "x.upf")


def test_version_one_headers_are_read():
    text = b"""<PP_HEADER>
   0                   Version Number
  Fe                   Element
  US                   Ultrasoft pseudopotential
    T                  Nonlinear Core Correction
 SLA  PW   PBE  PBE     PBE  Exchange-Correlation functional
    8.00000000000      Z valence
  -57.28              Total energy
   40.00000   400.000  Suggested cutoff for wfc and rho
    2                  Max angular momentum component
</PP_HEADER>"""
    header = read_upf_header(text, "Fe.upf")
    assert (header.element, header.z_valence, header.kind) == ("Fe", 8.0, "US")
    assert header.functional == "PBE"
    assert (header.wfc_cutoff_ry, header.rho_cutoff_ry) == (40.0, 400.0)


def test_every_known_family_says_where_it_is_and_what_to_cite():
    assert DEFAULT_FAMILY in KNOWN_FAMILIES
    for name, family in KNOWN_FAMILIES.items():
        assert family.name == name
        assert family.url.startswith(("http://www.pseudo-dojo.org/", "https://archive.mater"))
        assert "DOI" in family.citation
        assert family.license


def test_the_place_follows_the_environment(monkeypatch, tmp_path):
    set_pseudo_folder(None)
    assert pseudo_folder() == tmp_path / "data" / "pseudos"
    monkeypatch.setenv("NANO_OS_PSEUDO_DIR", str(tmp_path / "elsewhere"))
    assert pseudo_folder() == tmp_path / "elsewhere"
