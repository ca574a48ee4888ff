"""What tables are made of: memory that grows in place, images for snapshots, values by slot.

Must not know what is kept in them.
"""
