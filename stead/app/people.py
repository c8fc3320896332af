"""Who is let in: programs by their keys, and people besides the owner."""

from __future__ import annotations

from starlette.routing import Route

from stead.core.storage import Store
from stead.flow.flow import Flow
from stead.gateway.auth import Keys
from stead.gateway.key_routes import KeyRoutes
from stead.gateway.node_service import NodeService
from stead.gateway.people_routes import PeopleRoutes


def routes(store: Store, keys: Keys, flow: Flow, service: NodeService, most: int) -> list[Route]:
    """``/api/v1/keys`` and ``/api/v1/people``; flow and nodes are told who asks for a job."""
    service.person, flow.called = keys.people.of, keys.people.called
    return [
        *KeyRoutes(store, keys, max_body=most).routes(),
        *PeopleRoutes(store, keys, flow, max_body=most).routes(),
    ]
