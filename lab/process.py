"""Print a process's name and its start (clock ticks since boot); nothing when it has ended."""

import sys
from pathlib import Path


def main() -> None:
    try:
        stat = Path(f"/proc/{int(sys.argv[1])}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return
    # The name stands in parentheses and may itself contain some.
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    # A zombie has ended; its parent has only not asked yet.
    if fields[0] != "Z":
        print(head.partition("(")[2], fields[19])


if __name__ == "__main__":
    main()
