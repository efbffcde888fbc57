"""Turns a folder of SQL models into push-audience CSV files, from one database snapshot."""

__version__ = "0.1.0"
