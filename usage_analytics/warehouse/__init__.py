"""Column stores behind one protocol: bulk load, ledger, marts."""
