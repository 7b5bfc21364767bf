"""The command line, one file per sub-command. What is heavy is imported when a command runs, never at the top."""
