"""Requests that test the pipe: what works, what fails, what ends the process."""

import os
import sys
import time


def echo(fields, arrays, report):
    return fields, arrays


def describe(fields, arrays, report):
    return {"pid": os.getpid(), "group": os.getpgid(0), "isolated": sys.flags.isolated}, {}


def double(fields, arrays, report):
    return {}, {name: 2 * array for name, array in arrays.items()}


def refuse(fields, arrays, report):
    raise ValueError("there is nothing to compute")


def leave(fields, arrays, report):
    sys.stderr.write("the last thing it said\n")
    os._exit(3)


def die(fields, arrays, report):
    os.kill(os.getpid(), fields["signal"])


def sleep(fields, arrays, report):
    for step in range(100):
        report(step / 100, f"step {step}")
        time.sleep(fields["seconds"] / 100)
    return {}, {}


def chatter(fields, arrays, report):
    sys.stdout.write("a library greets\n")
    os.write(1, b"from below\n")
    os.system("echo from a child")
    return {"said": True}, {}


def read_input(fields, arrays, report):
    return {"input": sys.stdin.read()}, {}


def unanswerable(fields, arrays, report):
    return {"set": {1, 2}}, {}


REQUESTS = {
    function.__name__: function
    for function in (
        echo,
        describe,
        double,
        refuse,
        leave,
        die,
        sleep,
        chatter,
        read_input,
        unanswerable,
    )
}
