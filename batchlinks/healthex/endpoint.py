"""Which deployment of HealthEx, and which project in it."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Which deployment and project links are asked of."""

    api_url: str
    """Without a slash at its end: `https://api.healthex.io`."""

    link_host: str
    project_id: str

    @property
    def token_url(self) -> str:
        return f"{self.api_url}/v1/auth/token"

    @property
    def link_url(self) -> str:
        return f"{self.api_url}/v1/projects/{quote(self.project_id, safe='')}/link"

    @property
    def consents_url(self) -> str:
        """The same for every project, which is named in the body."""
        return f"{self.api_url}/v1/consents"
