"""The namespace's state: inodes, directories, block maps, sessions, tokens, recorded results."""
