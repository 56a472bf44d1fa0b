"""The comparison runner: one registry of cases, measured against every peer at its best."""
