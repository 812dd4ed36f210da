"""The nodes of the yard: which live, and what is wrong with the others."""

from __future__ import annotations

from functools import partial

from anyio import to_thread
from litestar import delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from modelyard.api.services import Services
from modelyard.records.nodes import Node
from modelyard.records.people import Grant, Need

_NODES = "/api/v1/nodes"


@get(_NODES, opt={"need": Need.OVERSEE}, tags=["yard"], summary="The nodes of the yard")
async def list_nodes(services: NamedDependency[Services]) -> list[Node]:
    """By address; `words` say what is wrong with one, `hint` what to do."""
    return await to_thread.run_sync(services.nodes.listed)


@delete(
    f"{_NODES}/{{node:str}}",
    opt={"need": Need.ADMINISTER},
    status_code=200,
    tags=["yard"],
    summary="Forget a node that will not come back",
)
async def forget_node(
    node: FromPath[str], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> list[Node]:
    """The nodes that are left. One that lives is listed again at once."""
    await to_thread.run_sync(partial(services.nodes.forget, node, by=grant.principal))
    return await to_thread.run_sync(services.nodes.listed)


HANDLERS = (list_nodes, forget_node)
