"""The local cluster: where its parts live, how they are created, started, watched and stopped."""
