"""What the programs share; only the contract."""
