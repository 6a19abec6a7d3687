"""Attacks, a file each; `tacita.audit.attack` has their contract and what they are measured by."""
