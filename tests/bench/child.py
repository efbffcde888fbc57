"""Runs one command and adds a line to stderr: its wall seconds and peak memory as the kernel told.

The kernel counts what a process held before `exec` into its peak: a child can never show less than
the process that started it held. So this runs as `python -I -S`, imports next to nothing, and
starts the command in the bench's place; what it holds itself is the least that can be measured.
"""

import os
import sys
import time

start = time.perf_counter()
# modules are compiled once, as those of an installed program are
environment = {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], environment)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - start
sys.stderr.write(f"\n{seconds} {usage.ru_maxrss}")
sys.exit(abs(os.waitstatus_to_exitcode(status)))
