"""The core: one run of an audience from its start to its published files. `phases` is the file to
open first; `state` is what is still alive, `log` every line that is logged. (Not `run`: that is the
function.)

Never here: a tool, the demo, the command line.
"""

__all__ = ["data_tests", "phases", "settings"]
