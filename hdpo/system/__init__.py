"""What any program needs: files, locks, errors, signals, processes, devices, randomness, provenance."""
