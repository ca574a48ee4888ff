"""The only networking: frames over asyncio, calls, server, pool, and the injected environment."""
