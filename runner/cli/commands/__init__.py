"""One file per command: its options, its help with one example, the one function that it calls,
and the text that it prints. The file's name is the command's.
"""
