"""Which project of which HealthEx."""

from batchlinks.config.settings import RunSettings, choose_project, deployment
from batchlinks.errors import SettingsError
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.next_steps import Advice, Do
from batchlinks.pipeline.context import RunContext


def find_endpoint(settings: RunSettings, context: RunContext) -> Endpoint:
    """Raises SettingsError where no project is set."""
    project_id = choose_project(settings, context.config, context.environment)
    if not project_id:
        raise SettingsError("No project: ", Advice(Do.GIVE_PROJECT))
    where = deployment(context.environment)
    return Endpoint(where.api_url, where.link_host, project_id)
