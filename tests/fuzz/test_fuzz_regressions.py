"""What fuzzing found once, kept as it was."""

import httpx
import pytest

from tests.support.node import Node


@pytest.mark.parametrize("query", ["%ff", "%C3=1", "EIO=4&x=%80", "sid=%ff", "EIO=4&transport=%ed%a0%80"])
async def test_a_query_that_is_no_text_is_refused_in_order(fuzzed_node: Node, query: str) -> None:
    async with httpx.AsyncClient(base_url=fuzzed_node.url) as http:
        answer = await http.get(f"/ws/socket.io/?{query}")
    assert answer.status_code == 400
    assert "Traceback" not in fuzzed_node.log()
