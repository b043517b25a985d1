"""A small inventory service with FastAPI and SQLAlchemy, as people write it for production: one
worker, uvloop and httptools. Says where it listens in one line on standard output."""

import json
import socket

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from answers import Problem, begin, failure
from items import router

app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
app.include_router(router)


@app.exception_handler(Problem)
async def problem(request: Request, error: Problem) -> Response:
    return failure(request, error)


@app.exception_handler(RequestValidationError)
async def invalid(request: Request, error: RequestValidationError) -> Response:
    if not hasattr(request.state, "began"):
        begin(request)
    wrong = [{"field": ".".join(map(str, each["loc"][1:])), "message": each["msg"]} for each in error.errors()]
    return failure(request, Problem(400, "request.invalid_body", "the request is not valid", wrong))


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    host, port = listener.getsockname()
    print(json.dumps({"address": f"{host}:{port}"}), flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])
