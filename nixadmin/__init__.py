"""Provision and administer multi-user Nix on ordinary Linux."""

__version__ = "0.1.0"
