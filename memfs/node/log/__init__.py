"""The replicated log: its entries, and the end of it that every node keeps."""
