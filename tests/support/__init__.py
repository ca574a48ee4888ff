"""The tests' own half of the kit: faults, campaigns, mutants, outside servers and clients."""
