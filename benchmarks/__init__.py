"""Benchmarks: measured, written as JSON under results/, and turned into the tables of docs/."""
