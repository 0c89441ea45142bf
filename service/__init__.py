"""The service round the search: jobs in SQL, the dispatcher, REST, dashboard, command line."""
