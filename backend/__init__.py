"""The backend application: its HTTP server, command line and database code, around the LLM clients in ``backend.utils.llm``."""
