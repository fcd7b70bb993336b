"""The service of the tests of operations, and the call that must be answered whatever happens."""

from tests.operations.conftest import call_body, start

__all__ = ["call_body", "start"]
