"""The SQL database: SQLite or PostgreSQL stores for the Protocols that other packages declare."""
