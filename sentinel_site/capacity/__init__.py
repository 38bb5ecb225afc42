"""How large an installation has to be: arithmetic on what was measured (docs/capacity.md)."""
