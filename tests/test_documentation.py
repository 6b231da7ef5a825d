"""What the documentation says is true: pages match the code, examples run, links lead somewhere."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def reference():
    path = ROOT / "docs" / "make_reference.py"
    spec = importlib.util.spec_from_file_location("make_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name",
    ["campaigns.md", "commands.md", "model_cards.md", "plugins.md", "routes.md", "settings.md"],
)
def test_reference_pages_are_what_the_code_says(reference, name):
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == reference.HEAD + reference.PAGES[name](), "run docs/make_reference.py"


def test_every_reference_page_is_tested(reference):
    assert sorted(reference.PAGES) == sorted(
        path.name for path in (ROOT / "docs" / "reference").glob("*.md")
    )


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "python.md"], ids=str)
def test_python_examples_run(page, settings, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NANO_OS_DATA_DIR", str(settings.data_dir))
    namespace: dict[str, object] = {}
    examples = blocks(page, "python")
    assert examples
    for example in examples:
        exec(compile(example, str(page), "exec"), namespace)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            joined = block.replace("\\\n", " ")
            for line in joined.splitlines():
                text = line.split("#")[0].strip()
                if text.startswith("nanoos "):
                    found.append((page.name, text))
    return sorted(set(found))


@pytest.mark.parametrize(("page", "text"), commands())
def test_commands_in_the_documentation_exist_with_their_options(page, text):
    from nanoos.cli.app import command_group

    arguments = shlex.split(text)[1:]
    context = command_group().make_context("nanoos", list(arguments))
    command, rest = context.command, context._protected_args + context.args
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)
        rest = getattr(context, "_protected_args", []) + context.args
    assert command is not None


def test_make_targets_in_the_documentation_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"^make ([a-z]+)", "\n".join(blocks(page, "bash")), re.MULTILINE):
            assert name in targets, f"{page.name}: make {name}"


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_no_machine_paths_in_what_is_published():
    words = re.compile(r"/(work|root|home/\w+)/")
    for folder in ("src", "docs", "examples", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".md", ".yaml", ".html", ".toml", ".json"}:
                found = words.search(path.read_text(encoding="utf-8"))
                assert found is None, f"{path}: {found}"
