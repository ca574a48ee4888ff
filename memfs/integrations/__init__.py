"""Other people's libraries on memfs: thin layers over the client's API, a package for each.

None of the libraries is a dependency of memfs; a module is imported by whoever has its library.
"""
