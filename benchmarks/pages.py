"""The worklist as a pharmacist gets it: through the application, signed in, to the last byte of HTML."""

import random
import re

from fastapi.testclient import TestClient
from sqlalchemy import insert, select

from rules.engine import Engine
from rules.rulebook import load_rulebook
from service.alerts import models
from service.alerts.access import new_account
from service.alerts.lines import canonical, canonical_answer
from service.alerts.past_answers import instant
from service.app import create_app
from service.dashboard.demo_year import Year
from service.evidence_vault import Evidence, bound, keep, seal_text
from service.identity import open_session
from service.review import Case, review
from service.settings import Settings

KINDS = 200  # different evidence, as large as that of the invented year
AT_ONCE = 5_000
PAGES = {
    "worklist_page": "/work",
    "worklist_page_by_patient": "/work?by=patient",
    "worklist_page_critical": "/work?view=critical",
    "worklist_page_of_one_rule": "/work?rule=rule-07",
    "worklist_page_mine": "/work?view=mine",
    "worklist_page_closed": "/work?view=closed",
}


def furnish(database, keyring, tenant, now):
    """Give every open alert its patient, its evaluation and real evidence: what the page must read."""
    import msgspec

    visits = Year(instant(now)).visits()
    chosen = random.Random(7).sample(visits, KINDS)
    engine = Engine(load_rulebook(), "compiled")
    found = []
    for at, patient, resources in chosen:
        done = review(Case(resources=resources, patient_id=patient), at, engine, validation="off")
        facts = msgspec.Raw(canonical(done.facts))
        answer = msgspec.Raw(canonical_answer(done.assessment))
        found.append(Evidence(facts=facts, answer=answer))
    engine.close()
    table = models.alert
    with database.writing() as connection:
        digests = [keep(connection, keyring, tenant, one, now) for one in found]
        rows = connection.execute(
            select(table.c.id, table.c.patient, table.c.evaluation).where(
                table.c.tenant == tenant, table.c.is_open == 1
            )
        ).all()
        for start in range(0, len(rows), AT_ONCE):
            held = rows[start : start + AT_ONCE]
            connection.execute(
                insert(models.evaluation),
                [
                    {
                        "tenant": tenant, "id": row.evaluation, "patient": row.patient, "received": now, "as_of": now,
                        "evidence": digests[row.id % KINDS],
                    }
                    for row in held
                ],
            )  # fmt: skip
        patients = sorted({row.patient for row in rows})
        for start in range(0, len(patients), AT_ONCE):
            connection.execute(
                insert(models.patient),
                [_patient(keyring, tenant, key, now) for key in patients[start : start + AT_ONCE]],
            )
    return len(rows)


def _patient(keyring, tenant, key, now):
    sealed_with, reference = seal_text(keyring, f"mrn-{key[-8:]}", bound("patient", tenant, key))
    return {
        "tenant": tenant, "patient": key, "sealed_with": sealed_with, "reference": reference, "first_seen": now,
        "last_seen": now,
    }  # fmt: skip


def pages(url, folder, tenant, now, times):
    """Milliseconds of each page; ``times`` measures a job."""
    settings = Settings(
        dev=True, store_url=url, spool_dir=folder / "page-spool", keyring=folder / "keys.json"
    )
    app = create_app(settings, clock=lambda: instant(now))
    record, measured = app.state.recorder, {}
    given = {"tenant": tenant, "name": "ann", "now": instant(now)}
    new_account(record.database, record.keyring, role="pharmacist", actor="benchmark", **given)
    secret = open_session(record.database, record.keyring, **given)
    client = TestClient(app, base_url="http://127.0.0.1:8080", follow_redirects=False)
    client.cookies.set("dekacard-dev", secret)
    for name, path in PAGES.items():
        answer = client.get(path)
        if answer.status_code != 200:
            raise SystemExit(f"{path} answered {answer.status_code}")
        rows = len(re.findall(r"data-alert=", answer.text))
        measured[name] = {
            **times(lambda path=path: client.get(path)),
            "rows": rows,
            "bytes": len(answer.content),
        }
    client.close()
    record.close()
    return measured
