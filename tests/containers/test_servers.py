"""The containers that other tests run on are servers that we support."""

import pytest
import redis


@pytest.mark.parametrize(("server", "product", "oldest"), [("redis7", "redis", 7), ("valkey8", "valkey", 8)])
def test_the_server_is_what_its_image_says(
    server: str, product: str, oldest: int, request: pytest.FixtureRequest
) -> None:
    with redis.Redis.from_url(request.getfixturevalue(server), protocol=2) as client:
        info = client.info("server")
    assert info.get("server_name", "redis") == product
    assert int(info[f"{product}_version"].split(".")[0]) == oldest
