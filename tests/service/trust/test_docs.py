"""What integrators read about trust is what the code does."""

from service.cds_hooks.client_profile import ClientProfile
from service.cds_hooks.trust import REASONS


def test_every_reason_is_explained(root):
    page = (root / "docs" / "integrators" / "security.md").read_text()
    for reason, meaning in REASONS.items():
        assert f"| `{reason}` | {meaning} |" in page


def test_what_is_said_of_profiles_is_so():
    assert ClientProfile.model_fields["rules"].is_required()
    for member in ("mode", "accept_draft"):
        assert ClientProfile.model_fields["rules"].annotation.model_fields[member].is_required()
