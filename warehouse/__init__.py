"""The ground of all other rooms: settings, paths, locks, connections, quoting, safe writes, the dbt project."""
