#!/usr/bin/env python3
"""usage: check_error.py SOURCE COMPILER FLAG...

SOURCE must fail to compile with exactly one error, and that error's line must contain the text of SOURCE's first line,
// expect: TEXT
"""
import re
import subprocess
import sys


def main():
    source, *command = sys.argv[1:]
    with open(source) as file:
        first = file.readline()
    expected = re.fullmatch(r"// expect: (.+)\n", first)
    if not expected:
        sys.exit(f"{source}: the first line is {first!r}, want '// expect: TEXT'")
    done = subprocess.run([*command, "-fsyntax-only", source], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if re.search(r": (fatal )?error: ", line)]
    print(done.stderr)
    if done.returncode == 0:
        sys.exit("it compiles; want an error")
    if len(errors) != 1:
        sys.exit(f"{len(errors)} errors, want 1")
    if expected[1] not in errors[0]:
        sys.exit(f"the error does not say: {expected[1]}")


if __name__ == "__main__":
    main()
