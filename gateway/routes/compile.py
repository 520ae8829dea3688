"""The configured routes as the decision sees them."""

from collections.abc import Iterable

from gateway.config.schema import RouteConfig
from gateway.routes.match import RouteTable
from gateway.routes.own import OwnEndpoints
from gateway.routes.route import Access, OnOutage, Route


def compile_route(config: RouteConfig) -> Route:
    """One route. The configuration was judged before; nothing here can fail."""
    return Route(
        name=config.name,
        path=config.path.encode(),
        upstream=config.upstream,
        access=Access(config.access),
        methods=None if config.methods is None else frozenset(method.encode() for method in config.methods),
        groups=frozenset(config.groups),
        issuers=None if config.issuers is None else frozenset(config.issuers),
        on_outage=OnOutage(config.on_outage),
        is_once=config.token_use == "once",
        forward_authorization=config.forward_authorization,
        forward_token=config.forward_token,
        allows_service_worker=config.service_worker,
        is_shared=config.cache == "shared",
    )


def compile_routes(configs: Iterable[RouteConfig], own: OwnEndpoints | None = None) -> RouteTable:
    """The table of routes, in the order of the configuration, and the gateway's own endpoints."""
    routes = [compile_route(config) for config in configs]
    return RouteTable(routes) if own is None else RouteTable(routes, own.find)
