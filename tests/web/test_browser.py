"""The pages in a real browser, with its keyboard, on a laptop and on a phone.

Debian's Chromium is taken (``apt-get install chromium``); without one these tests are skipped.
``NANO_OS_SCREENSHOTS=folder`` keeps a picture of each page.
"""

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
import uvicorn
from optimade_server import optimade_server
from test_kpoints_page import CIF, POSCAR, store

from nanoos.api.app import create_app
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.optimade import OptimadeService

playwright = pytest.importorskip("playwright.sync_api")

SIZES = {"laptop": (1280, 800), "phone": (360, 740)}
SCREENSHOTS = os.environ.get("NANO_OS_SCREENSHOTS")  # read here: tests see none of NANO_OS_...


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no Chromium")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", *quiet]
        )
        yield opened
        opened.close()


@pytest.fixture
def address(settings, services, with_pseudos) -> Iterator[str]:
    """Of a server that answers for real."""
    services.users.create("ann", "correct horse battery", LOCAL_PRINCIPAL)
    config = uvicorn.Config(
        create_app(settings, services), port=0, log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    with structlog.testing.capture_logs():
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def open_page(browser, address) -> Iterator[Callable[..., object]]:
    """A logged-in page of a size; any error of a script or a load fails the test."""
    problems: list[str] = []
    contexts = []

    def opened(size: str = "laptop", *, scheme: str = "light", script: bool = True):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            java_script_enabled=script,
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.goto(f"{address}/login")
        page.get_by_label("User name").fill("ann")
        page.get_by_label("Password").fill("correct horse battery")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("link", name="K-points").click()
        page.get_by_role("heading", name="K-points").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [text for text in problems if not re.search("status of (4..|503)", text)] == []


def look(page, name: str) -> None:
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{SCREENSHOTS}/{name}.png", full_page=True)
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{name} must be scrolled sideways by {wide} px"


def upload(page, data: bytes = CIF, name: str = "MgO.cif") -> None:
    page.get_by_label("CIF, POSCAR").set_input_files(
        {"name": name, "mimeType": "text/plain", "buffer": data}
    )
    page.get_by_role("button", name="Predict").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_a_file_is_uploaded_answered_and_its_input_downloaded(open_page, tmp_path, size, scheme):
    page = open_page(size, scheme=scheme)
    look(page, f"form-{size}-{scheme}")
    page.get_by_role("radio", name="0.90").check()
    upload(page)
    page.get_by_role("heading", name="MgO: a mesh of").wait_for()
    drawing = page.get_by_role("img", name="median")
    labels = [box.bounding_box() for box in drawing.locator("text").all()]
    width = SIZES[size][0]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in labels)
    look(page, f"result-{size}-{scheme}")
    page.get_by_text("What is in it, and why").click()
    page.get_by_text("The same from a program").click()
    look(page, f"details-{size}-{scheme}")
    with page.expect_download() as expected:
        page.get_by_role("button", name="Download MgO.scf.in").click()
    expected.value.save_as(tmp_path / "MgO.scf.in")
    written = (tmp_path / "MgO.scf.in").read_text()
    mesh = page.locator(".mesh").inner_text().split(" × ")
    assert f"K_POINTS automatic\n  {' '.join(mesh)} 0 0 0\n" in written


def test_the_keyboard_is_enough(open_page):
    page = open_page()
    page.keyboard.press("Tab")  # the skip link
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "file"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("Search a database").is_checked()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "database"
    page.keyboard.press("Tab")
    page.keyboard.type("Zz2")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "Zz" in alert.inner_text()
    assert page.get_by_label("Formula, elements or id").input_value() == "Zz2"


@pytest.mark.parametrize("size", list(SIZES))
def test_a_database_is_searched(open_page, services, size):
    with optimade_server() as server:
        object.__setattr__(services, "optimade", OptimadeService(server.url))
        page = open_page(size)
        page.get_by_label("Search a database").check()
        page.get_by_label("Formula, elements or id").fill("TiO2")
        look(page, f"search-{size}")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name="db-2657").wait_for()
        look(page, f"hits-{size}")
        page.get_by_role("link", name="db-2657").click()
        page.get_by_role("heading", name="TiO2: a mesh of").wait_for()
        look(page, f"entry-{size}")
        page.get_by_role("radio", name="0.85").check()
        page.get_by_role("button", name="Predict").click()
        page.get_by_text("Interval at 0.85", exact=True).wait_for()
        assert "entry=db-2657" in page.url
    page.get_by_label("Search a database").check()
    page.get_by_role("button", name="Search").click()
    page.get_by_role("alert").wait_for()
    assert "cannot be reached" in page.get_by_role("alert").inner_text()
    look(page, f"unreachable-{size}")


@pytest.mark.parametrize("size", list(SIZES))
def test_what_goes_wrong_is_said_on_the_page(open_page, size):
    page = open_page(size)
    upload(page, b"data_x\n_cell_length_a 4\n", "half.cif")
    page.get_by_role("alert").wait_for()
    look(page, f"bad-cif-{size}")
    upload(page, POSCAR, "POSCAR")
    page.get_by_text("No input can be written").wait_for()
    look(page, f"no-pseudopotential-{size}")


def test_a_stored_structure_is_chosen(open_page, services):
    store(services)
    page = open_page()
    page.get_by_label("Stored here").check()
    page.get_by_role("button", name="Predict").click()
    look(page, "stored")
    page.get_by_role("link", name="MgO").click()
    page.get_by_role("heading", name="MgO: a mesh of").wait_for()


def test_without_scripts_it_works(open_page):
    page = open_page(script=False)
    upload(page)
    page.get_by_role("heading", name=re.compile("MgO: a mesh of")).wait_for()
