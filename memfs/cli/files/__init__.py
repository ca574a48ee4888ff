"""Commands on files and directories."""
