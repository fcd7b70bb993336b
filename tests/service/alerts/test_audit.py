"""The audit trail shows every edit, deletion, exchange and cut; and only retention may shorten it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service import audit
from service.alerts import models, schema
from service.alerts.database import Database
from service.alerts.keyring import new_keyring
from service.alerts.past_answers import micros
from service.alerts.values import AuditEntry
from tests.service.alerts.stories import NOON

KEYRING = new_keyring()
LENGTH = 12
FIELDS = (
    "actor",
    "action",
    "object",
    "patient",
    "before",
    "after",
    "reason",
    "request_id",
    "outcome",
    "mac",
    "prev",
    "line",
)


def write_lines(database, count=LENGTH, tenant="st-elsewhere", keyring=KEYRING):
    def job(connection):
        chain = audit.Chain(connection, keyring)
        for number in range(count):
            chain.append(
                AuditEntry(
                    tenant=tenant,
                    at=NOON,
                    actor=f"user/{number}",
                    action="view",
                    object=f"alert/{number}",
                )
            )
        chain.close()

    database.write(job)


def faults(database, known=(), keyring=KEYRING):
    with database.reading() as connection:
        return audit.verify(connection, keyring, known)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A store whose owner has removed the triggers, as somebody with the password can."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('trail')}/record.db")
    schema.upgrade(database)
    with database.writing() as connection:
        for what in ("no_update", "no_delete"):
            connection.execute(text(f"DROP TRIGGER audit_{what}"))
    yield database
    database.close()


def edits():
    seq = st.integers(1, LENGTH)
    return st.one_of(
        st.tuples(
            st.just("edit"), seq, st.sampled_from(FIELDS), st.text("abc", min_size=1, max_size=5)
        ),
        st.tuples(st.just("time"), seq, st.integers(1, 10**15)),
        st.tuples(st.just("delete"), seq),
        st.tuples(st.just("swap"), seq, seq).filter(lambda told: told[1] != told[2]),
        st.tuples(st.just("cut"), st.integers(1, LENGTH - 1)),
        st.tuples(st.just("cut with its head"), st.integers(1, LENGTH - 1)),
        st.tuples(st.just("repeat"), seq),
        st.tuples(st.just("move to another client"), seq),
        st.tuples(st.just("everything")),
    )


def tamper(connection, what, *how):
    table, head = models.audit, models.audit_head
    here = lambda seq: table.update().where(table.c.seq == seq)  # noqa: E731
    if what == "edit":
        connection.execute(here(how[0]).values({how[1]: "~" + how[2]}))
    elif what == "time":
        connection.execute(here(how[0]).values(at=table.c.at + how[1]))
    elif what == "delete":
        connection.execute(table.delete().where(table.c.seq == how[0]))
    elif what == "swap":
        first, second = how
        for old, new in ((first, -1), (second, first), (-1, second)):
            connection.execute(here(old).values(seq=new))
    elif what.startswith("cut"):
        connection.execute(table.delete().where(table.c.seq > how[0]))
        if what.endswith("head"):
            mac = connection.scalar(
                table.select().with_only_columns(table.c.mac).where(table.c.seq == how[0])
            )
            connection.execute(head.update().values(seq=how[0], mac=mac))
    elif what == "repeat":
        row = connection.execute(table.select().where(table.c.seq == how[0])).one()
        connection.execute(table.insert().values({**row._mapping, "seq": LENGTH + 1}))
    elif what == "move to another client":
        connection.execute(here(how[0]).values(tenant="mercy"))
    else:
        connection.execute(table.delete())
        connection.execute(head.delete())


@given(edits())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_tampering_is_found(bare, told):
    with bare.writing() as connection:
        connection.execute(models.audit.delete())
        connection.execute(models.audit_head.delete())
    write_lines(bare)
    assert faults(bare) == []
    with bare.reading() as connection:
        known = audit.heads(connection)
    with bare.writing() as connection:
        tamper(connection, *told)
    assert faults(bare, known if told[0] == "everything" else ())


def test_a_store_that_was_set_back_as_a_whole_shows_against_heads_kept_elsewhere(bare):
    with bare.writing() as connection:
        connection.execute(models.audit.delete())
        connection.execute(models.audit_head.delete())
    write_lines(bare)
    with bare.reading() as connection:
        old_head = connection.execute(models.audit_head.select()).one()
    write_lines(bare, 3)
    with bare.reading() as connection:
        known = audit.heads(connection)
    with bare.writing() as connection:
        connection.execute(models.audit.delete().where(models.audit.c.seq > LENGTH))
        connection.execute(models.audit_head.update().values(old_head._asdict()))
    assert faults(bare) == [], "consistent in itself: only a witness can tell"
    assert "set back" in faults(bare, known)[0].says


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'x' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 2",
        "TRUNCATE audit",
        "UPDATE event SET actor = 'x'",
        "DELETE FROM event",
        "UPDATE feedback SET outcome = 'x'",
        "DELETE FROM feedback",
    ],
)
def test_the_store_itself_refuses_to_change_what_is_written_once(database, statement):
    write_lines(database)
    _one_event_and_feedback(database)
    with pytest.raises(DBAPIError), database.writing() as connection:
        connection.execute(text(statement))
    assert faults(database) == []
    with database.reading() as connection:
        assert connection.execute(models.event.select()).one().actor == "a"


def test_lines_of_an_old_key_are_verified_with_it_and_missed_without(database):
    write_lines(database)
    fresh = new_keyring()
    both = type(KEYRING)(
        identity=KEYRING.identity,
        audit={**KEYRING.audit, "a2": fresh.audit["a1"]},
        audit_current="a2",
    )
    write_lines(database, 2, keyring=both)
    assert faults(database, keyring=both) == []
    assert faults(database, keyring=KEYRING)


def test_retention_shortens_the_chain_at_its_start_and_it_stays_whole(database):
    write_lines(database)
    before = micros(NOON) + 1

    def job(connection):
        connection.execute(models.retention_permit.insert().values(name="audit", before=before))
        return audit.trim(connection, KEYRING, "st-elsewhere", before)

    write_later = AuditEntry(
        tenant="st-elsewhere", at=NOON.replace(hour=13), actor="user/x", action="view"
    )
    database.write(lambda connection: audit.append(connection, KEYRING, write_later))
    assert database.write(job) == LENGTH
    assert faults(database) == []
    database.write(lambda connection: audit.append(connection, KEYRING, write_later))
    assert faults(database) == []


def _one_event_and_feedback(database):
    def job(connection):
        alert = {
            "tenant": "t",
            "key": "k",
            "patient": "p",
            "rule": "r",
            "state": "new",
            "first_seen": 1,
            "last_seen": 1,
            "changed": 1,
        }
        number = connection.execute(
            models.alert.insert().values(alert).returning(models.alert.c.id)
        ).scalar_one()
        connection.execute(
            models.event.insert().values(tenant="t", alert=number, at=1, actor="a", action="opened")
        )
        connection.execute(models.feedback.insert().values(tenant="t", id="f", at=1, received=1))

    database.write(job)


def test_a_line_that_was_sealed_anew_differs_from_the_head_kept_elsewhere(bare):
    with bare.writing() as connection:
        connection.execute(models.audit.delete())
        connection.execute(models.audit_head.delete())
    write_lines(bare)
    with bare.reading() as connection:
        (known,) = audit.heads(connection)
    with bare.writing() as connection:
        connection.execute(models.audit.delete())
        connection.execute(models.audit_head.delete())
    write_lines(bare, LENGTH + 1)  # by somebody who has the key: whole in itself, but another trail
    assert faults(bare) == []
    other = type(known)(tenant=known.tenant, seq=known.seq, mac="00" * 32)
    assert [(one.seq, one.says) for one in faults(bare, (other,))] == [
        (LENGTH, "differs from the head kept elsewhere")
    ]


def test_lines_without_a_head_carry_no_mark(bare):
    with bare.writing() as connection:
        connection.execute(models.audit.delete())
        connection.execute(models.audit_head.delete())
    write_lines(bare, 2)
    objects = ("alert/0", "alert/1")
    with bare.reading() as connection:
        found = audit.sealed_lines(connection, KEYRING, "st-elsewhere", objects)
        assert [row.object for row in found] == list(objects)
        assert audit.sealed_lines(connection, new_keyring(), "st-elsewhere", objects) == []
    with bare.writing() as connection:
        connection.execute(models.audit_head.delete())
    with bare.reading() as connection:
        left = audit.sealed_lines(connection, KEYRING, "st-elsewhere", objects)
    assert [row.object for row in left] == ["alert/1"]  # the first continues nothing that is known
