"""Guessing at a served site, behind whatever the guesser says stands in front of it."""

import re
import urllib.error
import urllib.parse
import urllib.request

from tests.service.dashboard.production import settings_in


def sign_in(service, **headers):
    """The status of a wrong password for a name that nobody has."""
    form = urllib.parse.urlencode({"name": "ann", "password": "seven grey geese fly"}).encode()
    asked = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    request = urllib.request.Request(f"{service.base}/login", form, asked | headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_an_address_that_somebody_makes_up_begins_no_new_count(start, tmp_path):
    settings = settings_in(tmp_path)
    service = start(DEKACARD_CLIENTS=str(settings.clients), DEKACARD_JTI_STORE=settings.jti_store)
    said = []
    for number in range(11):
        made_up = f"10.1.1.{number}"
        told = {"X-Forwarded-For": made_up, "X-Real-IP": made_up, "Forwarded": f"for={made_up}"}
        said.append(sign_in(service, **told))
    assert said == [401] * 10 + [429]
    assert "10.1.1." not in service.log()


def test_the_first_token_of_a_served_site_is_in_its_file_and_never_in_its_log(start, tmp_path):
    settings = settings_in(tmp_path)
    service = start(DEKACARD_CLIENTS=str(settings.clients), DEKACARD_JTI_STORE=settings.jti_store)
    token = (tmp_path / "setup-token").read_text(encoding="ascii").strip()
    assert re.fullmatch(r"[\w-]{43}", token)
    assert token not in service.log()
    assert str(tmp_path / "setup-token") in service.log()
