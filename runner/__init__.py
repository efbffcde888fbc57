"""Turns a folder of SQL models into push-audience CSV files, from one database snapshot."""
