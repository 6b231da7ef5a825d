"""Programs that a test started, and nothing else that runs beside it."""

import psutil


def running(words: str) -> list[psutil.Process]:
    """Descendants of this process whose command line holds ``words``; those that ended are left out.

    Other descendants (a database server, what else a test session keeps) are none of the test's
    business: kill or count only what this finds.
    """
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if words in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found
