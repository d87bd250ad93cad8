"""Plan, run, resume: pure tasks from files to files, on one core, all cores or a cluster; one writer of the index."""
