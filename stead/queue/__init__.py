"""A job's life: enqueue, claim, heartbeat, finish, retry, rescue."""
