"""How errors look on the command line: one place for all of them."""

import json
import os
import sys
import traceback
from typing import Any

from nanoos.core.errors import NanoosError

DEBUG_VARIABLE = "NANO_OS_DEBUG"
USAGE_EXIT_CODE = 2


def report_error(error: NanoosError, *, as_json: bool) -> int:
    """Show an error of the tree; returns its exit code."""
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    _show(error.as_dict(), as_json=as_json)
    return error.exit_code


def report_usage(error: Any, *, as_json: bool) -> int:
    """Show a mistake in the command line itself (an unknown option, a missing argument)."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message, file=sys.stderr)  # noqa: T201
        return USAGE_EXIT_CODE
    hint = f"'{context.command_path} --help' lists what there is." if context else None
    document = {"code": "usage", "message": message, "hint": hint, "details": {}}
    _show(document, as_json=as_json)
    return int(getattr(error, "exit_code", USAGE_EXIT_CODE))


def report_defect(error: Exception, *, as_json: bool) -> int:
    """Show an error that nobody foresaw: one line, and how to see more."""
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    text = str(error).strip().splitlines()
    document = {
        "code": "internal_error",
        "message": f"Internal error: {type(error).__name__}: {text[0] if text else ''}".rstrip(
            ": "
        ),
        "hint": f"Set {DEBUG_VARIABLE}=1 and repeat the command to see the traceback; "
        "please report it.",
        "details": {},
    }
    _show(document, as_json=as_json)
    return NanoosError.exit_code


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": document}), flush=True)  # noqa: T201
        return
    print(f"Error: {document['message']}", file=sys.stderr)  # noqa: T201
    if document["hint"]:
        print(f"Hint: {document['hint']}", file=sys.stderr)  # noqa: T201
