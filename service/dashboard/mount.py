"""Puts the dashboard beside the hooks: one call from the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from service.dashboard.account_page import AccountPage
from service.dashboard.accounts_page import AccountsPage
from service.dashboard.alert_page import AlertPage
from service.dashboard.assets import serve_asset
from service.dashboard.audit_page import AuditPage
from service.dashboard.desk import Desk
from service.dashboard.exports import Exports
from service.dashboard.gate import Gate
from service.dashboard.handover_page import HandoverPage
from service.dashboard.live import Live
from service.dashboard.patient_page import PatientPage
from service.dashboard.queue_page import QueuePage
from service.dashboard.replaying import Replaying
from service.dashboard.rule_page import RulePage
from service.dashboard.rules_page import RulesPage
from service.dashboard.run_page import RunPage
from service.dashboard.runs_page import RunsPage
from service.dashboard.runs_queue import RunQueue
from service.dashboard.set_up import SetUp
from service.dashboard.silences_page import SilencesPage
from service.dashboard.triage import Triage
from service.dashboard.worklist_page import WorklistPage

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.alerts.record import Record
    from service.parts import Parts


def mount_dashboard(app: FastAPI, parts: Parts, record: Record) -> Desk:
    """Offer every page; the store is not opened before the first of them is asked for."""
    desk = Desk(parts, record)
    gate = Gate(desk)
    SetUp(desk, gate)
    AccountPage(desk, gate)
    AccountsPage(desk)
    _offer_providers(desk, gate)
    WorklistPage(desk)
    alerts = AlertPage(desk)
    Triage(desk, alerts)
    Replaying(desk, alerts)
    PatientPage(desk)
    Exports(desk)
    QueuePage(desk)
    RulesPage(desk)
    RulePage(desk)
    queue = RunQueue(record, parts.settings, parts.clock)
    app.state.run_queue = queue
    RunsPage(desk, queue)
    RunPage(desk, queue)
    SilencesPage(desk)
    AuditPage(desk)
    HandoverPage(desk)
    Live(desk)
    app.router.routes.extend(desk.routes)
    app.router.routes.append(
        Route("/static/{digest}/{name:path}", serve_asset, methods=["GET"], include_in_schema=False)
    )
    app.state.dashboard = desk
    return desk


def _offer_providers(desk: Desk, gate: Gate) -> None:
    """The OpenID providers of the site; Authlib is loaded only where there are some."""
    file = desk.parts.settings.oidc
    if file is None:
        return
    from service.dashboard.oidc_door import OidcDoor
    from service.identity_providers import read_providers

    for provider in read_providers(file):
        OidcDoor(desk, gate, provider)
