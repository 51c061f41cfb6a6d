"""One cluster for all suites of this folder; `cluster/test` starts it and names it in TESSERA_HOME."""
pytest_plugins = ["cluster_fixtures"]
