"""What Hadoop expects: parameters, the JSON's shapes, Java's exceptions, checksums, defaults."""
