"""Ground floor: errors, typed settings, registry, progress, records of what was done."""
