"""The command line: words, exit codes, tables. One file a command; torch is imported by the workflows."""
