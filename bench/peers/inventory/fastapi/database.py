"""The pool, and sessions on it. A read of one statement needs no transaction around it."""

import os

from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgres://", "postgresql+asyncpg://"),
    pool_size=int(os.environ["POOL"]),
    max_overflow=0,
)
reading = async_sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False)
writing = async_sessionmaker(engine, expire_on_commit=False)
