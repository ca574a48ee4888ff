"""An append-only log: a flush publishes, and costs the same at any size of the file."""

import memfs

with memfs.connect() as fs, fs.open("/events.log", "a") as log, fs.open("/events.log") as reader:
    reader.read()  # skip what earlier runs wrote
    for number in range(3):
        log.write(f"event {number}\n")
        log.flush()  # readers see it from here on
        print("read:", reader.read().rstrip())
