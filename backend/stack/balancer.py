"""The load balancer's configuration for a local stack: Caddy, sticky by cookie. Pure.

`deploy/caddy/Caddyfile` is the same idea for production, with TLS.
"""

from collections.abc import Sequence

COOKIE = "vouchstorm_node"
HEALTH_INTERVAL_S = 0.5


def caddyfile(public_port: int, node_ports: Sequence[int]) -> str:
    """A Caddyfile that spreads clients over the nodes and keeps each with the node it met first.

    Long-polling needs that: each request of a session must reach the node that holds it. New clients go to
    the node with the fewest connections. A node that is not ready gets no new clients; when none is ready
    (Redis is away, for example) they are used all the same, since a degraded node still serves what it can.
    """
    upstreams = " ".join(f"127.0.0.1:{port}" for port in node_ports)
    return f"""{{
	admin off
	auto_https off
	persist_config off
	grace_period 1s
	servers {{
		protocols h1
	}}
	log {{
		output stderr
		level WARN
	}}
}}

http://:{public_port} {{
	bind 127.0.0.1
	reverse_proxy {upstreams} {{
		lb_policy cookie {COOKIE} {{
			fallback least_conn
		}}
		lb_try_duration 250ms
		lb_try_interval 50ms
		fail_duration 1s
		health_uri /readyz
		health_interval {HEALTH_INTERVAL_S * 1000:.0f}ms
		health_timeout 3s
		health_fails 2
	}}
	handle_errors 503 {{
		reverse_proxy {upstreams} {{
			lb_policy cookie {COOKIE} {{
				fallback least_conn
			}}
		}}
	}}
}}
"""
