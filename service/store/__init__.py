"""SQL, the only truth: tables, migrations and the one object that reads and writes them."""
