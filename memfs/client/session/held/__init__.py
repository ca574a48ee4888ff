"""What a client holds at the primary: leases, locks, open files, capabilities.

It keeps them alive while its session lasts, and gives them back.
"""
