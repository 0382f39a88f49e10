"""The yardstick of admission.py: a webhook that does nothing but answer; pods it refuses."""

import ssl
import sys

from aiohttp import web


def nod(port: int, certificate: str, key: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        review = await request.json()
        asked = review["request"]
        response = {
            "uid": asked["uid"],
            "allowed": asked["kind"]["kind"] != "Pod",
            "status": {"message": "no pods here"},
        }
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    app = web.Application()
    app.add_routes([web.post("/", answer)])
    web.run_app(app, host="127.0.0.1", port=port, ssl_context=context, print=None, access_log=None)


if __name__ == "__main__":
    nod(int(sys.argv[1]), *sys.argv[2:])
