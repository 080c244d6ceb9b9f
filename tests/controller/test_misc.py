"""Questions about the appliance itself, and who may ask them."""

from flynn_aio.controller import Status

from .conftest import CA


async def test_ping_answers_anybody_with_an_empty_200(stage):
    response = await stage.client(None).get("/ping")
    assert (response.status, response.content_type, response.body) == (200, None, b"")
    assert response.headers["content-length"] == "0"
    assert "server" not in response.headers


async def test_status_is_pretty_printed(client):
    response = await client.get("/.well-known/status")
    assert response.content_type == "application/json"
    assert response.body == b'{\n  "data": {\n    "status": "healthy",\n    "version": "dev"\n  }\n}\n'


async def test_an_unhealthy_appliance_says_so_with_500(open_stage):
    async def sick():
        return Status(status="unhealthy", detail={"podman": "does not answer"})

    async with open_stage(status=sick) as stage:
        response = await stage.client().get("/.well-known/status")
    assert response.status == 500
    assert response.json()["data"]["detail"] == {"podman": "does not answer"}


async def test_the_ca_certificate_is_for_everybody_but_not_for_a_wrong_key(stage):
    for key in (None, ""):
        response = await stage.client(key).get("/ca-cert")
        assert (response.status, response.content_type, response.body) == (200, "application/x-x509-ca-cert", CA)
    assert (await stage.client().get("/ca-cert")).status == 200
    refused = await stage.client("wrong").get("/ca-cert")
    assert (refused.status, refused.body, refused.content_type) == (401, b"", None)
