"""The error tree: every message says what is wrong, where it is, and what to do about it.

DekacardError
+- KnowledgeError            start-up: a pack is refused (unknown key, missing citation, limit of the engine)
|  +- UnsafeRule             start-up: a condition that the engine would evaluate wrongly
+- FactError                 a fact that the engine cannot hold; becomes a Gap in a review
+- EngineError               the engine broke its promise; its handle is retired and that patient fails loudly
+- RequestError              the caller's fault: unreadable, too large, incomplete
+- NotTrusted                the caller could not be identified, or may not do this
+- Unavailable               something that is needed does not answer in time
"""


class DekacardError(Exception):
    """Anything that dekacard refuses on purpose."""


class KnowledgeError(DekacardError):
    """A pack cannot be used; ``where`` is ``file:line`` or ``file`` of the offending place."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        place = f"{where}: " if where else ""
        super().__init__(f"{place}{what}" + (f" {remedy}" if remedy else ""))


class UnsafeRule(KnowledgeError):
    """A rule is written in a shape that durable_rules would evaluate wrongly or not survive."""


class FactError(DekacardError):
    """A fact holds a value that the engine must never see (NaN, overlong text, wrong type)."""


class EngineError(DekacardError):
    """The engine did not evaluate the whole patient; its answer must not be used."""


class RequestError(DekacardError):
    """The caller sent something unusable; ``status`` is the HTTP status that says so."""

    def __init__(
        self, what: str, *, status: int = 400, code: str = "invalid", diagnostics: str = ""
    ) -> None:
        self.status, self.code, self.diagnostics = status, code, diagnostics
        super().__init__(what)


class NotTrusted(DekacardError):
    """The caller is unknown (401) or not allowed (403); ``reason`` is for the log, never for the caller."""

    def __init__(self, reason: str, *, status: int = 401) -> None:
        self.reason, self.status = reason, status
        super().__init__("not trusted")


class Unavailable(DekacardError):
    """A dependency did not answer in time; the caller may try again after ``retry_after`` seconds."""

    def __init__(self, what: str, *, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(what)
