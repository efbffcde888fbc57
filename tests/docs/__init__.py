"""Tests of what people read and copy: README, CONTRIBUTING, docs/, deploy/ and examples/."""
