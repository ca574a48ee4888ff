"""The wire protocol, pure: typed messages, their msgpack records, and frames. No I/O here."""
