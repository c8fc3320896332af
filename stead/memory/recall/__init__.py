"""What of memory an agent is shown before a job, chosen, checked and kept with the job."""
