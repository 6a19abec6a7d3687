"""Detectors of samples that do not belong, a file each; `tacita.audit.poison` has their contract."""
