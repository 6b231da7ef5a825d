"""Reading a campaign file: every mistake with its line, every typo with the nearest key."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from nanoos.core.errors import ConfigError, NanoosError, NotFoundError
from nanoos.design.campaign import CampaignConfig
from nanoos.design.simulating import simulation_request, undeliverable
from nanoos.design.spaces import SPACES

MAX_FILE_BYTES = 5 << 20

Location = tuple[str | int, ...]


def load_campaign_file(path: Path) -> CampaignConfig:
    """Read and check a campaign file (YAML).

    Paths inside ``parameter_space`` are taken relative to the file.

    Raises:
        NotFoundError: no such file.
        ConfigError: it is no campaign; one line for each problem, ``file:line: problem``.
    """
    text = _read(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(
            f"{where}: {problem}.", hint="Check indentation, colons and quotes there."
        ) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(
            f"{path} is not a campaign: expected keys and values.",
            hint="Start from examples/ or see 'nanoos discover --help'.",
        )
    _refuse_repeated_keys(path, root)
    problems = list(_problems(document))
    if problems:
        lines = [f"{path}:{_line(root, loc, text)}: {text}" for loc, text, _ in problems]
        hints = [hint for _, _, hint in problems if hint]
        raise ConfigError(
            "\n".join(lines), hint=" ".join(hints) or None, details={"problems": lines}
        )
    space = document.get("parameter_space", {})
    if "paths" in space:
        folder = path.absolute().parent
        document["parameter_space"] = space | {
            "paths": [str((folder / entry).resolve()) for entry in space["paths"]]
        }
    return CampaignConfig.model_validate(document)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is too large for a campaign file.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = difflib.get_close_matches(
            path.name, [p.name for p in path.parent.glob("*.y*ml")] if path.parent.exists() else []
        )
        raise NotFoundError(
            f"There is no file {path}.", hint=f"Did you mean {near[0]!r}?" if near else None
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error


def _refuse_repeated_keys(path: Path, node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(
                    f"{path}:{key.start_mark.line + 1}: {key.value!r} stands here twice.",
                    hint="Keep one of them.",
                )
            seen.add(key.value)
            _refuse_repeated_keys(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(path, value)


def _problems(document: dict[str, Any]) -> Iterator[tuple[Location, str, str | None]]:
    """Location, sentence and hint of each problem."""
    try:
        config = CampaignConfig.model_validate(document)
    except ValidationError as error:
        yield from _pydantic_problems(error, CampaignConfig, ())
        space = document.get("parameter_space")
    else:
        space = config.parameter_space
        yield from _simulation_problems(config)
    if isinstance(space, dict):
        yield from _space_problems(space)


def _space_problems(space: dict[str, Any]) -> Iterator[tuple[Location, str, str | None]]:
    prefix: Location = ("parameter_space",)
    kind = space.get("type")
    if not isinstance(kind, str):
        yield prefix, "the space has no type", f"Set type to one of: {', '.join(SPACES)}."
        return
    try:
        model = SPACES.get(kind).Config
    except NanoosError as error:
        yield (*prefix, "type"), error.message.rstrip("."), error.hint
        return
    try:
        model.model_validate(space)
    except ValidationError as error:
        yield from _pydantic_problems(error, model, prefix)


def _simulation_problems(config: CampaignConfig) -> Iterator[tuple[Location, str, str | None]]:
    from nanoos.engines import ENGINES

    try:
        engine = ENGINES.get(config.simulation.engine)()
    except NotFoundError as error:
        yield ("simulation", "engine"), error.message.rstrip("."), error.hint
        return
    try:
        engine.validate_parameters(simulation_request(config.simulation).asked)
    except NanoosError as error:
        parameter = error.details.get("parameter")
        location: Location = ("simulation", "workflow")
        if parameter is not None:
            location = ("simulation", "parameters", str(parameter))
        yield location, error.message.rstrip("."), error.hint
        return
    try:
        for refusal in undeliverable(config):
            yield refusal.location, refusal.sentence, refusal.hint
    except NanoosError as error:  # the simulation is sound, so it is the check of the winners
        yield ("cross_check",), error.message.rstrip("."), error.hint


def _pydantic_problems(
    error: ValidationError, model: type[BaseModel], prefix: Location
) -> Iterator[tuple[Location, str, str | None]]:
    for item in error.errors():
        loc = tuple(item["loc"])
        if item["type"] == "extra_forbidden":
            known = _keys_at(model, loc[:-1])
            near = difflib.get_close_matches(str(loc[-1]), known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Valid here: {', '.join(known)}."
            yield (*prefix, *loc), f"unknown key {str(loc[-1])!r}", hint
        elif item["type"] == "missing":
            yield (*prefix, *loc), f"{loc[-1]!r} is missing", None
        else:
            message = item["msg"].removeprefix("Value error, ")
            name = ".".join(str(part) for part in loc)
            yield (*prefix, *loc), f"{name}: {message}" if name else message, None


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Valid keys of the section at ``path`` of a model."""
    current: type[BaseModel] = model
    for part in path:
        field: FieldInfo | None = current.model_fields.get(str(part))
        nested = _model_in(field.annotation) if field is not None else None
        current = nested or current
    return list(current.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _line(root: yaml.MappingNode, location: Location, sentence: str) -> int:
    """Line, counted from 1, of what a problem is about.

    That is the deepest part of ``location`` that stands in the file, or below it the word that
    the sentence quotes: checks of a whole section name what they object to.
    """
    node, line = _descend(root, location)
    quoted = re.search(r"'([^']+)'", sentence)
    found = _find_scalar(node, quoted.group(1)) if quoted else None
    return (line if found is None else found) + 1


def _descend(root: yaml.MappingNode, location: Location) -> tuple[yaml.Node, int]:
    node: yaml.Node = root
    line = root.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return node, int(line)


def _find_scalar(node: yaml.Node, text: str) -> int | None:
    """Line of the first key or value that reads ``text``, counted from 0."""
    if isinstance(node, yaml.ScalarNode):
        return int(node.start_mark.line) if node.value == text else None
    if isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
    else:
        children = list(node.value)
    return next((line for c in children if (line := _find_scalar(c, text)) is not None), None)
